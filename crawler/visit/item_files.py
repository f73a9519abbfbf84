"""Fetches and keeps the files that items name: the steps of `waiting.py`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from crawler.errors import OwnLimit
from crawler.media.endings import ending
from crawler.media.library import Kept, Library, Shaped, UnusableFile
from crawler.model import Dead, Failure, Lease, Outcome, Request, Retry, Skip, Step, Visit
from crawler.policy import RetryPolicy
from crawler.response import Response
from crawler.spiders.callbacks import Found
from crawler.spiders.items import ItemError, encode_item, shown_value
from crawler.visit import waiting
from crawler.visit.waiting import KINDS, FileResult, Kind, Waiting

log = structlog.get_logger()

Result = TypeVar("Result")

TOO_LARGE, ERRBACK = "item_too_large", "errback"  # for which an item is written without its files
_MAX_STATUS = 60  # characters of the reason for which a file is given up
_LARGEST = ("p" * 72, "c" * 64, "s" * _MAX_STATUS)  # path, checksum and status of a file
_MAX_URL = 8_200 + 300  # bytes of a canonical URL
CRASHES = 2  # tries beyond those of a page: one after a host was away, one that only gives the file up


class Section(NamedTuple):
    """Files of one kind: the item's fields, and where the files are kept."""

    urls: str  # field that lists the URLs
    result: str  # field that gets what became of them
    library: Library
    shape: Callable[[bytes], Shaped] | None = None  # checks and converts a file; raises `UnusableFile`


class ItemFiles:
    """The files of one spider's items."""

    def __init__(
        self, sections: Mapping[Kind, Section], check: Callable[[Request], Request], *, follows: bool = False
    ) -> None:
        """`check` raises `ValueError` for a request that cannot travel. `follows`: redirects are followed."""
        self._sections = sections
        self._check = check
        self._follows = follows

    def lacks(self, request: Request) -> str:
        """Why the files of a request's item cannot be kept here; empty if they can."""
        kinds = {kind for kind, _ in waiting.of(request).wanted} - self._sections.keys()
        return lacks_store(kinds)

    # --- the page that gives the items

    def waits(self, item: Any) -> bool:
        """Whether an item has a field that lists URLs of files. Raise `ItemError` as `split` does."""
        return self._wanted(encode_item(item)) is not None

    def split(
        self, lease: Lease, callback: str, found: Found, *, waits: bool = True
    ) -> tuple[Found, list[tuple[bytes, str]]]:
        """Return what a callback (named with its spider) gave, with a request in place of each item that waits for
        files; and the items, with their classes, whose files are given up: all, unless the callback `waits`. Raise
        `ItemError` for URLs that are no list of text."""
        items: list[bytes] = []
        kinds: list[str] = []
        steps: list[Request] = []
        settled: list[tuple[bytes, str]] = []
        noted: Counter[str] = Counter()
        for line, kind in zip(found.items, found.kinds, strict=True):
            wanted = self._wanted(line)
            if wanted is None:
                items.append(line)
                kinds.append(kind)
                continue
            item = Waiting(line.decode(), lease.request.url, callback, kind, wanted)
            if why := self._too_large(lease, item) if waits else ERRBACK:
                settled.append((self._complete(item.given_up(why), noted), kind))
                continue
            steps.append(waiting.stay(lease, item))
            noted["files/waiting"] += 1
        return replace(found, items=items, kinds=kinds, requests=[*steps, *found.requests]).noting(noted), settled

    def _wanted(self, line: bytes) -> tuple[tuple[Kind, str], ...] | None:
        """Return the files that an item names; None if it has no field that lists some."""
        if not any(b'"%b"' % section.urls.encode() in line for section in self._sections.values()):
            return None
        fields = msgspec.json.decode(line)
        sections = [(kind, self._sections[kind].urls) for kind in KINDS if kind in self._sections]
        if not any(field in fields for _, field in sections):
            return None
        return tuple((kind, url) for kind, field in sections for url in _urls(field, fields.get(field)))

    def _too_large(self, lease: Lease, item: Waiting) -> str:
        """Return `TOO_LARGE` if the item could not take all steps, in the largest form that it can get; empty if it
        can."""
        results = tuple(FileResult(url, *_LARGEST) for _, url in item.wanted)
        try:
            self._check(waiting.stay(lease, replace(item, told=results, at="u" * _MAX_URL)))
        except ValueError as error:
            log.warning(TOO_LARGE, url=item.page, why=str(error), then="it is written without its files")
            return TOO_LARGE
        return ""

    # --- the steps

    def blame(self, retry: RetryPolicy) -> RetryPolicy:
        """Return the retry policy for a file that ends its process. Its additional tries let the item leave without the
        file."""
        return replace(retry, retry_times=retry.retry_times + CRASHES)

    def retry(self, retry: RetryPolicy) -> RetryPolicy:
        """Return the retry policy for a file: the statuses that a spider handles itself concern pages only."""
        return replace(
            retry, handle_httpstatus_list=frozenset(), handle_httpstatus_all=False, dont_redirect=not self._follows
        )

    def onward(self, lease: Lease, item: Waiting) -> Visit:
        """Take a step at a URL. It makes no request to the host."""
        following = waiting.onward(lease, item)
        if isinstance(following, Request):
            return Visit(Step(), links=(following,), unasked=True)
        noted: Counter[str] = Counter({"files/complete": 1})
        return Visit(Step(), items=(self._complete(following, noted),), noted=noted, unasked=True)

    async def before(self, lease: Lease, item: Waiting, retry: RetryPolicy) -> Visit | None:
        """Return the visit of a file for which its host need not be asked: the store has it, or it has ended this
        process too often. None: ask. Raise `OwnLimit`."""
        if lease.attempt > retry.retry_times + CRASHES - 1:
            return Visit(Step("crash"), links=(waiting.stay(lease, item.with_result(status="crash")),), unasked=True)
        kind, url = _next(item)
        kept = await self._in_thread(kind, self._sections[kind].library.known, url)
        if kept is None:
            return None
        return Visit(Step(), links=(waiting.stay(lease, _settled(item, kept, "uptodate")),), unasked=True)

    async def read(
        self, lease: Lease, response: Response, guarded: AbstractContextManager[None]
    ) -> tuple[Outcome, Found]:
        """Keep the file that the host has sent. What may end this process runs `guarded`. Raise `OwnLimit`."""
        item = waiting.of(lease.request)
        kind, url = _next(item)
        if why := "empty" if not response.body else "truncated" if "dataloss" in response.cut else "":
            return Dead(Failure(why, f"{response.url}: the file is {why}")), Found()
        section = self._sections[kind]
        shaped = Shaped(response.body)
        if section.shape is not None:
            try:
                with guarded:  # not in a thread: what kills the process is blamed on what this thread does
                    shaped = section.shape(response.body)
            except UnusableFile as error:
                return Dead(Failure(error.status, f"{response.url}: {error}")), Found()
        end = shaped.ending or ending(response.headers.get("content-type", ""), url)
        kept = await self._in_thread(kind, section.library.keep, url, shaped.body, end, shaped.thumbs)
        step = waiting.stay(lease, _settled(item, kept, "downloaded"))
        return Step(), Found(requests=[step], noted={"files/bytes": len(response.body)})

    def judged(self, lease: Lease, visit: Visit, retry: RetryPolicy) -> Visit:
        """Return the visit of a file: one that is given up, or redirected, takes a step as well."""
        item = waiting.of(lease.request)
        match visit.outcome:
            case Skip(reason="redirect", detail=url):
                step = waiting.stay(lease, replace(item, is_asking=False, at=url), lease.request.redirects + 1)
                return replace(visit, outcome=Step("redirect"), links=(step,), items=(), unfollowed={})
            case Dead(failure=failure, spent=True) if visit.health in ("busy", "down") and (
                lease.attempt <= retry.retry_times
            ):  # whether the host is to blame, the frontier decides, and only for a try that is repeated
                return replace(visit, outcome=Retry(failure, retry.retry_delay))
            case Dead(failure=failure):
                return self._give_up(lease, visit, item, failure.kind, failure.message)
            case Skip(reason=reason, detail=detail):
                return self._give_up(lease, visit, item, reason, detail)
        return visit

    def _give_up(self, lease: Lease, visit: Visit, item: Waiting, why: str, detail: str) -> Visit:
        log.warning("file_given_up", url=lease.request.url, page=item.page, why=why, detail=detail)
        step = waiting.stay(lease, item.with_result(status=why[:_MAX_STATUS]))
        return replace(visit, outcome=Step(why), links=(step,), items=(), unfollowed={})

    def _complete(self, item: Waiting, noted: Counter[str]) -> bytes:
        """Return the item with its results, and count them."""
        fields: dict[str, Any] = msgspec.json.decode(item.item)
        results: dict[str, list[FileResult]] = {one.result: [] for one in self._sections.values() if one.urls in fields}
        for (kind, _), result in zip(item.wanted, item.told, strict=True):
            results[self._sections[kind].result].append(result)
            noted[f"files/{result.status}" if result.path else f"given_up/{result.status}"] += 1
        return msgspec.json.encode({**fields, **results})

    async def _in_thread(self, kind: Kind, work: Callable[..., Result], *given: Any) -> Result:
        """Do what blocks. Raise `OwnLimit` if the store fails: no file is lost by that, and none is asked for."""
        try:
            return await asyncio.to_thread(work, *given)
        except OSError as error:
            store = self._sections[kind].library.store.location
            raise OwnLimit(f"{store}: files cannot be kept: {error.strerror or error}") from error


def _next(item: Waiting) -> tuple[Kind, str]:
    wanted = item.next
    assert wanted is not None  # noqa: S101 - a request that asks has a file to ask for
    return wanted


def _settled(item: Waiting, kept: Kept, status: str) -> Waiting:
    return item.with_result(path=kept.path, checksum=kept.checksum, status=status)


def _urls(field: str, given: object) -> Iterator[str]:
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(url, str) for url in given):
        raise ItemError(f"item field {field}: {shown_value(given)} is no list of URLs; write [url]")
    yield from given


def lacks_store(kinds: Collection[Kind]) -> str:
    """Say which stores are missing for files of these kinds; empty if there are none."""
    return " and ".join(f"no {kind.upper()}_STORE is set here" for kind in sorted(kinds))
