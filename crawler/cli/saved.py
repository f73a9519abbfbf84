"""`record` and `check`: saved pages, with what a spider should make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.cli.exits import say_error
from crawler.cli.options import ArgumentOptions, Invocation, config_of, flag, option, spider_arguments
from crawler.cli.pages import PageSpider, page_spider, request_for
from crawler.cli.parse import given_fields
from crawler.errors import CrawlerError, Exit, UsageError
from crawler.program import PROGRAM
from crawler.runtime.safe_text import printable_lines
from crawler.runtime.standard_output import kept_from_users

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.app.record import Checked, Recorded

_FOLDER = "tests/pages"
Folder = Annotated[
    str,
    option("--folder", metavar="FOLDER", help=f"Where the saved pages are; default: {_FOLDER}, one folder a spider."),
]
Ignore = Annotated[
    list[str] | None,
    option("--ignore", metavar="FIELD", help="A field whose value may differ, such as a time; may be repeated."),
]


def record(
    invocation: Invocation,
    urls: Annotated[list[str], typer.Argument(metavar="URL…", help="The pages.", show_default=False)],
    spider: PageSpider = "",
    callback: Annotated[
        str, option("-c", "--callback", metavar="NAME", help="The method that reads them; default: parse.")
    ] = "",
    arguments: ArgumentOptions = None,
    meta: Annotated[str, option("-m", "--meta", metavar="JSON", help="The requests' meta.")] = "",
    name: Annotated[str, option("--name", metavar="NAME", help="Name of the files; default: made from the URL.")] = "",
    ignore: Ignore = None,
    folder: Folder = _FOLDER,
) -> int:
    """Save pages, with the items and requests that a spider makes of them, for `check`. Read them; add them to git.

    crawler record https://quotes.example/ --spider quotes --ignore fetched_at
    """
    config = config_of(invocation)
    _check_name(name, urls)
    requests = [request_for(url, **given_fields(callback, meta)) for url in urls]
    registry, found = page_spider(config, spider, requests[0].url)

    async def record_all() -> None:
        from crawler.app.record import record as record_pages

        given = spider_arguments(arguments)
        options: dict[str, Any] = {"name": name, "ignore": ignore or (), "arguments": given}
        async for one in record_pages(config, registry, found, requests, Path(folder), **options):
            saved.append(one)

    saved: list[Recorded] = []
    try:
        with kept_from_users():
            asyncio.run(record_all())
    finally:
        for one in saved:
            print(f"{one.file}: {_several(len(one.page.items), 'item')}, {_several(len(one.page.requests), 'request')}")
            _say_lost(one.file, one.page.losses)
    is_lost = any(one.page.losses for one in saved)
    return Exit.LOST if is_lost and config.settings.STRICT else Exit.DONE


def check(
    invocation: Invocation,
    spider: Annotated[
        str, typer.Argument(metavar="SPIDER", help="Only the pages of this spider.", show_default=False)
    ] = "",
    update: Annotated[bool, flag("--update", help="Save what differs; git shows it.")] = False,
    ignore: Ignore = None,
    folder: Folder = _FOLDER,
) -> int:
    """Run the callbacks on the saved pages, without any network, and show what differs. Exit code: 1 if anything does.

    crawler check quotes
    """
    config = config_of(invocation)

    from crawler.testing.saved_pages import found_in

    files = found_in(Path(folder), spider)
    if not files:
        of = f" of spider {spider}" if spider else ""
        raise UsageError(f"no saved page{of} in {folder}: save one with `{PROGRAM} record URL --spider NAME`")
    wrong = lossy = 0
    for file, one in _checked(config, files, ignore or [], update=update):
        wrong += _told(one, file)
        lossy += not isinstance(one, CrawlerError) and bool(one.losses)
    print(
        f"{wrong} of {_several(len(files), 'page')}: not as saved"
        if wrong
        else f"{_several(len(files), 'page')}: as saved"
    )
    return Exit.FAILED if wrong else Exit.LOST if lossy and config.settings.STRICT else Exit.DONE


def _checked(
    config: Config, files: Iterable[Path], ignore: list[str], *, update: bool
) -> Iterable[tuple[Path, Checked | CrawlerError]]:
    """Yield each file with what the check says, or the error that keeps it from being checked."""
    from crawler.app.record import Checks

    checks = Checks(config)
    with asyncio.Runner() as runner:
        for file in files:
            try:
                yield file, runner.run(checks.check(file, ignore=ignore, update=update))
            except CrawlerError as error:
                yield file, error


def _told(one: Checked | CrawlerError, file: Path) -> bool:
    """Print what a check says; return whether the page is wrong after it."""
    if isinstance(one, CrawlerError):
        say_error(f"{file}: {one}" if str(file) not in str(one) else str(one))
        return True
    if one.diff:
        print(printable_lines(one.diff))
    if one.is_updated:
        print(f"{file}: saved")
    _say_lost(file, one.losses)
    return bool(one.diff) and not one.is_updated


def _say_lost(file: Path, losses: Iterable[str]) -> None:
    for loss in losses:
        print(f"{file}: lost: {loss}")


def _several(number: int, noun: str) -> str:
    from crawler.views.figures import several

    return several(number, noun)


def _check_name(name: str, urls: list[str]) -> None:
    if name and len(urls) > 1:
        raise UsageError("--name is that of one page: give one URL")
    if name and (Path(name).name != name or name.startswith(".") or "." in name):
        raise UsageError(f"--name {name}: give letters, digits, - and _; the endings are added")
