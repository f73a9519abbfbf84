"""`parse`: what a spider makes of one page: items, requests, and what it left out."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import msgspec
import typer

from crawler.cli.exits import say_error
from crawler.cli.options import ArgumentOptions, Invocation, Json, config_of, flag, option, spider_arguments
from crawler.cli.pages import PageSpider, page_spider, request_for
from crawler.errors import Exit, OutputError, UsageError
from crawler.export.formats import JSON_LINES, format_of
from crawler.runtime.safe_text import masked, printable_lines, shown, without_password
from crawler.runtime.standard_output import kept_from_users

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.app.parse import Parsed
    from crawler.model import Request
    from crawler.views.losses import Loss

_JSON = "JSON"


def parse(
    invocation: Invocation,
    url: Annotated[str, typer.Argument(metavar="URL", help="The page.", show_default=False)],
    spider: PageSpider = "",
    callback: Annotated[
        str, option("-c", "--callback", metavar="NAME", help="The method that reads it; default: parse.")
    ] = "",
    arguments: ArgumentOptions = None,
    meta: Annotated[str, option("-m", "--meta", metavar=_JSON, help="The request's meta.")] = "",
    cb_kwargs: Annotated[
        str, option("--cbkwargs", metavar=_JSON, help="More arguments of the callback, by name.")
    ] = "",
    rules: Annotated[bool, flag("-r", "--rules", help="Let the rules of a CrawlSpider choose the callback.")] = False,
    depth: Annotated[int, option("-d", "--depth", min=1, metavar="N", help="Levels of pages, the first included.")] = 1,
    pipelines: Annotated[bool, flag("--pipelines", help="Let the items pass ITEM_PIPELINES.")] = False,
    no_items: Annotated[bool, flag("--noitems", help="Leave out the items.")] = False,
    no_links: Annotated[bool, flag("--nolinks", help="Leave out the requests.")] = False,
    output: Annotated[
        str, option("-o", "--output", metavar="FILE", help="Write the items to a new FILE, one a line.")
    ] = "",
    json_: Json = False,
) -> int:
    """Fetch one page, let the spider read it, and print the items and requests that it gives. Nothing is queued.

    A bug of the spider is shown with its line. Exit code: 1 if a page could not be read.

    crawler parse https://quotes.example/ --spider quotes --callback parse_author --meta '{"page": 2}'
    """
    config = _logging_readably(config_of(invocation))
    request = request_for(url, **given_fields(callback, meta, cb_kwargs))
    registry, name = page_spider(config, spider, request.url)
    if rules:
        from crawler.app.parse import by_rules

        request = by_rules(registry.get(name), request)
    code: int = Exit.DONE
    is_lost = False
    with (
        _new_file(output) as items,
        _Pages(config, registry, name, request, depth, spider_arguments(arguments), pipelines) as pages,
    ):
        for one in pages:
            items.writelines(b"%b\n" % item for item in one.visit.items)
            if json_:
                print(msgspec.json.encode(_as_data(one, items=not no_items, links=not no_links)).decode(), flush=True)
            else:
                _print(one, items=not no_items, links=not no_links)
            code = max(code, _told(one))
            is_lost |= any(not loss.is_asked_for for loss in _losses(one))
    return code or (Exit.LOST if is_lost and config.settings.STRICT else Exit.DONE)


def given_fields(callback: str, meta: str, cb_kwargs: str = "") -> dict[str, Any]:
    """Return what the options say about the request. Raise `UsageError`."""
    given: dict[str, Any] = {"meta": _object("--meta", meta)} if meta else {}
    if cb_kwargs:
        given["cb_kwargs"] = _object("--cbkwargs", cb_kwargs)
    if callback:
        given["callback"] = callback
    return given


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise UsageError(f"{option} {text}: {error}; write a JSON object such as '{{\"page\": 2}}'") from None


@contextmanager
def _new_file(name: str) -> Iterator[BinaryIO]:
    """Yield a new file, or one that keeps nothing if there is no name. It does not stay if nothing is written."""
    if name == "-":
        raise UsageError("-o -: the items go to a file; --json prints them")
    if (kind := format_of(name)) is not JSON_LINES:
        raise UsageError(f"-o {name}: parse writes JSON lines, not {kind.says}: write a name that ends in .jsonl")
    try:
        with open(name, "xb") if name else open(os.devnull, "wb") as file:
            try:
                yield file
            finally:
                if name and not file.tell():
                    Path(name).unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(f"-o {name}: the file exists; name a new one") from None
    except OSError as error:
        if name and error.filename == name:
            raise OutputError(f"-o {name}: {error.strerror}") from None
        raise


class _Pages:
    """The pages one by one, so that each can be printed while the next waits for its turn."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __enter__(self) -> Iterator[Parsed]:
        from crawler.app.parse import parse

        self._runner = asyncio.Runner().__enter__()
        *others, depth, given, pipelines = self._arguments
        self._found = parse(*others, levels=depth, arguments=given, pipelines=pipelines)
        return self._each()

    def _each(self) -> Iterator[Parsed]:
        while True:
            with kept_from_users():
                one = self._runner.run(_next(self._found))
            if one is None:
                return
            yield one

    def __exit__(self, *raised: object) -> None:
        with kept_from_users(), self._runner:
            self._runner.run(self._found.aclose())


async def _next(found: AsyncGenerator[Parsed, None]) -> Parsed | None:
    return await anext(found, None)


def _logging_readably(config: Config) -> Config:
    """Log for a person: the log has the traceback of a callback that fails."""
    from crawler.runtime import logs

    logs.configure(config.settings.LOG_LEVEL, "console")
    return config


def _told(one: Parsed) -> int:
    """Say why a page was not read, and return the exit code."""
    from crawler.model import Dead, Retry, Skip

    match one.visit.outcome:
        case Dead(failure=failure) | Retry(failure=failure):
            line = f" ({failure.line})" if failure.line else ""
            say_error(f"{'' if one.request.url in failure.message else f'{one.request.url}: '}{failure.message}{line}")
            return Exit.FAILED
        case Skip(reason="robots", detail=rule):
            say_error(
                f"{one.request.url}: robots.txt forbids it ({rule}); to fetch it all the same: -s ROBOTSTXT_OBEY=false"
            )
            return Exit.FAILED
        case Skip(reason=reason, detail=detail) if not one.is_redirect:
            say_error(f"{one.request.url}: skipped: {detail or reason}")
            return Exit.FAILED
    return Exit.DONE


def _items(one: Parsed) -> list[Any]:
    return [msgspec.json.decode(item) for item in one.visit.items]


def _as_data(one: Parsed, *, items: bool, links: bool) -> dict[str, Any]:
    """Return what came of one page as JSON data, for scripts. Requests are shown without credentials."""
    visit = one.visit
    return {
        "url": one.request.url,
        "level": one.level,
        "status": visit.status,
        "outcome": type(visit.outcome).__name__.lower(),
        "failure": _failure(one),
        "callback": one.request.callback,
        **({"items": _items(one)} if items else {}),
        **({"requests": [_shown_request(link) for link in visit.links]} if links else {}),
        "dropped": dict(visit.dropped),
        "unfollowed": dict(visit.unfollowed),
        "losses": msgspec.to_builtins(_losses(one)),
    }


def _failure(one: Parsed) -> dict[str, str] | None:
    """Return why the page was not read: the kind of failure or the reason of a skip. None if it was."""
    from crawler.model import Dead, Retry, Skip

    match one.visit.outcome:
        case Dead(failure=failure) | Retry(failure=failure):
            return {"kind": failure.kind, "message": without_password(failure.message), "line": failure.line}
        case Skip(reason=reason, detail=detail) if not one.is_redirect:
            return {"kind": reason, "message": without_password(detail), "line": ""}
    return None


def _shown_request(request: Request) -> dict[str, Any]:
    """Return the fields of a request that are not the usual ones, and always URL and callback."""
    usual = msgspec.to_builtins(type(request)("http://a/"))
    given = msgspec.to_builtins(request)
    told = {field: value for field, value in given.items() if value != usual[field] or field in ("url", "callback")}
    return masked(told)  # type: ignore[no-any-return]


def _print(one: Parsed, *, items: bool, links: bool) -> None:
    from crawler.cli import tables

    console = tables.console()
    console.print(_title(one), style="bold", soft_wrap=True)
    if items and one.was_read:
        _print_items(_items(one))
    if links and one.was_read:
        console.print(f"requests: {len(one.visit.links)}", style="bold")
        if one.visit.links:
            console.print(tables.table(("callback", "URL", "besides"), map(_row, one.visit.links)))
    for loss in _losses(one):
        word, style = ("left out", "dim") if loss.is_asked_for else ("lost", "yellow")
        console.print(f"{word}: {loss.text}", style=style, soft_wrap=True)


def _title(one: Parsed) -> str:
    from crawler.views.figures import size

    visit, request = one.visit, one.request
    answer = f"{visit.status}, {size(visit.size)}" if visit.status else "no answer"
    if one.is_redirect:
        return shown(f"{request.url}: redirected")
    return shown(
        f"{request.url}: {answer}, {f'read by {request.spider}.{request.callback}' if one.was_read else 'not read'}"
    )


def _print_items(items: Sequence[Any]) -> None:
    from crawler.cli import tables

    tables.console().print(f"items: {len(items)}", style="bold")
    for item in items:
        print(printable_lines(json.dumps(item, indent=2, ensure_ascii=False)))


def _row(request: Request) -> tuple[str, str, str]:
    told = {field: value for field, value in _shown_request(request).items() if field not in _IN_THE_TABLE}
    return request.callback, request.url, " ".join(f"{field}={json.dumps(value)}" for field, value in told.items())


_IN_THE_TABLE = ("url", "callback", "spider", "depth", "redirects")


def _losses(one: Parsed) -> list[Loss]:
    """Return what a crawl would tell of the page."""
    from crawler import policy
    from crawler.status import JobStats
    from crawler.views.losses import told

    return told(JobStats("", counters=policy.counts(one.visit)))
