"""Saved pages: what a host answered, and what a spider's callback makes of it, in two files for git.

    tests/pages/quotes/quotes-example.html     the body, as it came
    tests/pages/quotes/quotes-example.json     the rest of the answer, the callback, its items and requests

`record` writes them, `check` and the pytest plugin compare.
"""

from __future__ import annotations

import difflib
import json
import mimetypes
import re
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import OutputError, UsageError
from crawler.model import Request
from crawler.parsing.url import host_of
from crawler.program import PROGRAM
from crawler.response import Response
from crawler.runtime.safe_text import masked
from crawler.spiders.base import Spider
from crawler.spiders.failures import failure_of
from crawler.status import JobStats
from crawler.testing import run_spider_async
from crawler.views.losses import lost_in_words, told

log = structlog.get_logger()

FOLDER = Path("tests/pages")
"""Where the pages are, relative to the project."""

IGNORED = "(ignored)"

# Of an answer's head: what differs each time, belongs to the connection, or to one visitor.
_NOT_KEPT = re.compile(
    r"set-cookie2?|date|age|expires|server|via|etag|vary|connection|keep-alive|transfer-encoding|content-(length|encoding)"
    r"|(x-)?(request|trace|amz|cache|served|timer|runtime).*|cf-.*|alt-svc|nel|report-to|server-timing"
)
_JSON_PAGE = ".body.json"
_USUAL = msgspec.to_builtins(Request("http://a/"))
_OF_THE_CRAWL = ("depth", "spider", "redirects")  # fields of a request that the crawler sets


class SavedPage(Struct, omit_defaults=True):
    """The readable file of a page."""

    url: str
    spider: str
    page: str  # name of the file with the body
    callback: str = "parse"
    status: int = 200
    headers: Mapping[str, Any] = {}  # a list of values where there were several fields
    arguments: Mapping[str, str] = {}  # of the spider: -a NAME=VALUE
    meta: Mapping[str, Any] = {}
    cb_kwargs: Mapping[str, Any] = {}
    ignore: Sequence[str] = ()  # names of fields whose values may differ
    items: Sequence[Any] = ()
    requests: Sequence[Any] = ()
    error: str = ""  # what the callback raises instead
    lost: Mapping[str, int] = {}  # what a crawl would lose of the page: counter → times

    @property
    def found(self) -> dict[str, Any]:
        """What the callback made of the page."""
        seldom = {"error": self.error, "lost": self.lost}
        found = {"items": self.items, "requests": self.requests, **{name: one for name, one in seldom.items() if one}}
        return {name: without(value, self.ignore) for name, value in found.items()}

    @property
    def losses(self) -> list[str]:
        """One sentence for each loss."""
        return lost_in_words(told(JobStats("", counters=self.lost))).splitlines()


def found_in(folder: Path, spider: str = "") -> list[Path]:
    """Return the readable files of all saved pages, or of one spider's, sorted."""
    return sorted(filter(is_readable_file, (folder / spider if spider else folder).rglob("*.json")))


def is_readable_file(file: Path) -> bool:
    """Whether a file that ends in .json is the readable one of a page, and not a page that is JSON itself."""
    return not file.name.endswith(_JSON_PAGE)


def read(file: Path) -> SavedPage:
    """Read a page. Raise `UsageError` if it is not one."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=SavedPage)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{file}: not a page that `{PROGRAM} record` has saved: {error}") from None


def body_of(file: Path, saved: SavedPage) -> bytes:
    """Return the body of a page. Raise `UsageError` if it is missing, or outside the folder of its readable file."""
    page = file.parent / saved.page
    if Path(saved.page).name != saved.page:
        raise UsageError(f"{file}: page {saved.page!r}: name a file beside this one")
    try:
        return page.read_bytes()
    except OSError as error:
        raise UsageError(f"{page}: {error.strerror}; {file} needs it") from None


async def made_now(spider: Spider, saved: SavedPage, body: bytes) -> SavedPage:
    """Return the page with what the callback makes of it now, and log its strays. A callback that raises is no error
    here."""
    request = Request(
        saved.url, callback=saved.callback, meta=saved.meta, cb_kwargs=saved.cb_kwargs, spider=saved.spider
    )
    try:
        found = await run_spider_async(
            spider, body, saved.url, saved.callback, status=saved.status, headers=saved.headers, request=request
        )
    except Exception as error:  # the spider's own code may raise anything
        failure = failure_of(type(spider), saved.callback, error)
        said = f"{failure.message} ({failure.line})" if failure.line else failure.message
        return replace(saved, items=(), requests=(), error=said, lost={})
    for stray in found.strays:
        log.error(stray.kind, url=saved.url, line=stray.line, error=stray.message)
    lost = {one.counter: one.count for one in found.lost}
    return replace(saved, items=found.items, requests=[_shown(one) for one in found.requests], error="", lost=lost)


def difference(file: Path, saved: SavedPage, now: SavedPage) -> str:
    """Return a unified diff of what was saved and what is found now; empty if both are equal."""
    before, after = saved.found, now.found
    if before == after:
        return ""
    was, is_now = (
        json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True).splitlines() for found in (before, after)
    )
    return "\n".join(difflib.unified_diff(was, is_now, f"{file} (saved)", f"{file} (now)", lineterm=""))


def write(file: Path, saved: SavedPage, body: bytes | None = None) -> None:
    """Write the readable file, and with a `body` that of the page. Raise `OutputError`."""
    found = saved.found
    kept = replace(saved, **{name: value for name, value in found.items() if name != "error"})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if body is not None:
            (file.parent / saved.page).write_bytes(body)
        file.write_text(json.dumps(msgspec.to_builtins(kept), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OutputError(f"{error.filename or file}: {error.strerror}") from None


def saved_from(response: Response, name: str, **fields: Any) -> SavedPage:
    """Return the page of a response, with nothing found yet. `name`: of both files, without their endings."""
    kept = {field: response.headers.getlist(field) for field in response.headers if not _NOT_KEPT.fullmatch(field)}
    headers = {field: values[0] if len(values) == 1 else values for field, values in kept.items()}
    page = f"{name}{_ending(response)}"
    return SavedPage(response.url, page=page, status=response.status, headers=headers, **fields)


def name_for(url: str) -> str:
    """Return the name of a page's files: letters and digits of its URL, and so many of its hash that it is unique."""
    words = re.sub(r"[^a-z0-9]+", "-", url.partition("://")[2].lower().removeprefix(host_of(url))).strip("-")
    return f"{words[:40].strip('-') or 'index'}-{blake2b(url.encode(), digest_size=3).hexdigest()}"


def without(value: Any, fields: Collection[str]) -> Any:
    """Return the value with a mark in place of what these fields hold, at any depth."""
    if not fields:
        return value
    if isinstance(value, Mapping):
        return {name: IGNORED if name in fields else without(one, fields) for name, one in value.items()}
    return [without(one, fields) for one in value] if isinstance(value, (list, tuple)) else value


def _ending(response: Response) -> str:
    if response.is_html:
        return ".html"
    guessed = mimetypes.guess_extension(response.content_type) or ".bin"
    return _JSON_PAGE if guessed == ".json" else guessed


def _shown(request: Request) -> dict[str, Any]:
    """Return URL and callback of a request, and what is not usual of the rest. No login is kept."""
    given = msgspec.to_builtins(request)
    given["body"] = request.body.decode(errors="backslashreplace")
    told = {name: one for name, one in given.items() if one != _USUAL[name] and name not in _OF_THE_CRAWL}
    for name in ("headers", "meta", "cb_kwargs"):
        if name in told:
            told[name] = masked(told[name])
    return {"url": request.url, "callback": request.callback, **told}
