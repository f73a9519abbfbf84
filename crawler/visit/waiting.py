"""The way of an item that waits for its files. It needs no state but its own request in the frontier.

The item travels along: a request carries it (`Request.media`), with what is known of its files so far. It takes a step
when its request is committed, and each step adds the request for the next one:

    page p ──▶ at p ──▶ ask a ──▶ at a ──▶ ask b ──▶ at b ──▶ at p ──▶ the item is written

`ask a` fetches a file as a page is fetched: robots.txt, pace, retries, address guard. `at a` asks nobody. So the item
is durable as any request is, is counted as one, keeps its job unfinished, and is deleted with it.

Why it is written once: links are added before their page is committed, so a worker that dies in between lets the page
be visited a second time, perhaps with another end (another answer, another redirect, an item with other URLs).
Therefore each step has one successor, whatever happens in it:

- what depends on the outside world (the page's callback, a fetch) is followed by a step at the same URL, thus in the
  same shard, whose name is that of its predecessor: whoever adds it again finds it known, and the first one holds;
- what follows a step at a URL depends on its message alone.

The last step writes the item in the commit that ends it, as a page does. It is at the page's URL, to which the items of
the outbox belong.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from crawler.model import BLANK, Lease, Request
from crawler.parsing.request_fields import MAX_PRIORITY
from crawler.parsing.url import BadUrl, canonical

Kind = Literal["files", "images"]

FILES: Kind = "files"
IMAGES: Kind = "images"
KINDS = (FILES, IMAGES)


class FileResult(Struct, frozen=True):
    """What became of one file, as the item gets it."""

    url: str  # as the item names it
    path: str | None = None  # in the store; None: given up
    checksum: str | None = None  # SHA-256 of the bytes, in hexadecimal
    status: str = ""  # downloaded, uptodate (the store had it), or why it was given up


class Waiting(Struct, frozen=True, omit_defaults=True):
    """An item that waits, and what is known of its files."""

    item: str  # JSON, without the results
    page: str  # URL of the page that gave it
    callback: str  # that read the page, with its spider
    kind: str  # the name of the item's class
    wanted: tuple[tuple[Kind, str], ...]  # all files, in order
    told: tuple[FileResult, ...] = ()  # the results of the first of them
    is_asking: bool = False  # this request is for the next file
    at: str = ""  # URL to which the next file was redirected; empty: it was not

    @property
    def next(self) -> tuple[Kind, str] | None:
        """The next file; None if there are no more."""
        return self.wanted[len(self.told)] if len(self.told) < len(self.wanted) else None

    def with_result(self, **fields: Any) -> Waiting:
        """A copy that knows what became of the next file."""
        result = FileResult(self.wanted[len(self.told)][1], **fields)
        return replace(self, told=(*self.told, result), is_asking=False, at="")

    def given_up(self, why: str) -> Waiting:
        """A copy with a result for each file: those without one yet are given up."""
        rest = (FileResult(url, status=why) for _, url in self.wanted[len(self.told) :])
        return replace(self, told=(*self.told, *rest), is_asking=False, at="")


def of(request: Request) -> Waiting:
    """Return the item that the request carries."""
    return msgspec.convert(request.media, Waiting)


def stay(lease: Lease, waiting: Waiting, redirects: int = 0) -> Request:
    """Return the request for the step at the URL of this one."""
    return _request(lease, lease.request.url, waiting, redirects)


def onward(lease: Lease, waiting: Waiting) -> Request | Waiting:
    """Return the request that follows a step at a URL; the item, all settled, if this is its last step."""
    while (wanted := waiting.next) is not None:
        try:
            url = canonical(waiting.at or wanted[1])
        except BadUrl:
            waiting = waiting.with_result(status="malformed")
            continue
        return _request(lease, url, replace(waiting, is_asking=True), lease.request.redirects)
    return waiting if lease.request.url == waiting.page else _request(lease, waiting.page, waiting)


def _request(lease: Lease, url: str, waiting: Waiting, redirects: int = 0) -> Request:
    request = lease.request
    return replace(
        BLANK,
        url=url,
        meta={"dont_cache": True},  # the store is the cache
        priority=MAX_PRIORITY,  # an item should not wait for the pages that were found meanwhile
        dont_filter=True,
        depth=request.depth or 1,  # a request of depth 0 would be a seed, whose host comes into scope
        spider=request.spider,
        redirects=redirects,
        media=msgspec.to_builtins(waiting),
    )
