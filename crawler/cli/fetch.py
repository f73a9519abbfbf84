"""`fetch`: the body or the headers of one page, as the crawler gets it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.exits import say_error
from crawler.cli.options import Invocation, config_of, flag
from crawler.cli.pages import NoRedirect, PageSpider, local_file, page_spider, request_for
from crawler.errors import Exit, UsageError
from crawler.runtime.safe_text import masked, printable_lines, shown
from crawler.runtime.signals import run
from crawler.runtime.standard_output import write_bytes

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.model import Request
    from crawler.response import Response
    from crawler.spiders.registry import Registry


def fetch(
    invocation: Invocation,
    url: Annotated[str, typer.Argument(metavar="URL", help="The page; or a saved one, a file.", show_default=False)],
    spider: PageSpider = "",
    headers: Annotated[
        bool, flag("--headers", help="Print the headers instead: > those sent, < those of the answer.")
    ] = False,
    no_redirect: NoRedirect = False,
) -> int:
    """Fetch one page as a crawl would, and print its body. It needs no queue server, and tries once.

    The address guard, robots.txt, logins and middlewares of the project hold. Exit code: 1 for a status from 400 up,
    and for a page that cannot be fetched.

    crawler fetch https://quotes.example/ > page.html
    """
    config = config_of(invocation)
    response, sent = _fetched(config, url, spider, redirects=not no_redirect)
    if headers:
        sys.stdout.writelines(f"{line}\n" for line in _lines(sent, response))
    else:
        _write(response)
    if response.status < HTTPStatus.BAD_REQUEST:
        return Exit.LOST if response.cut and config.settings.STRICT else Exit.DONE
    say_error(f"{response.url}: status {response.status} {phrase(response.status)}".rstrip())
    return Exit.FAILED


def _fetched(config: Config, target: str, spider: str, *, redirects: bool) -> tuple[Response, Mapping[str, str]]:
    """Return the answer, and the headers that were sent for it."""
    if file := local_file(target):
        from crawler.app.one_page import saved_page

        return saved_page(config, file), {}
    request = request_for(target, or_file=True)
    registry, name = page_spider(config, spider, request.url)
    return run(_fetch(config, registry, name, request, redirects=redirects))


async def _fetch(
    config: Config, registry: Registry, spider: str, request: Request, *, redirects: bool
) -> tuple[Response, Mapping[str, str]]:
    from crawler.app.one_page import open_pages

    async with open_pages(config, registry, spider) as pages:
        response = await pages.fetch(request, redirects=redirects)
        return response, pages.sent(response.request)


def _lines(sent: Mapping[str, str], response: Response) -> Iterator[str]:
    request = response.request
    if sent:
        yield shown(f"> {request.method} {request.url}")
    yield from (shown(f"> {name}: {value}") for name, value in masked(dict(sent)).items())
    yield ">"
    yield shown(f"< {response.status} {phrase(response.status)}".rstrip())
    yield from (shown(f"< {name}: {value}") for name, value in _received(response))


def _received(response: Response) -> Iterator[tuple[str, str]]:
    for name in response.headers:
        for value in response.headers.getlist(name):
            yield name, masked({name: value})[name]


def _write(response: Response) -> None:
    """Write the body as it is; on a terminal as text that cannot control it."""
    if not sys.stdout.isatty():
        write_bytes(response.body)
        return
    if b"\0" in response.body[:4096]:
        kind = response.content_type or "of no type"
        raise UsageError(f"the body is binary ({kind}, {len(response.body):,} bytes): write it to a file with > FILE")
    text = printable_lines(response.text)
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def phrase(status: int) -> str:
    """Return the words of a status, such as `Not Found`; empty for one that has none."""
    return HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
