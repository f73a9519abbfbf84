"""May this URL be asked for? robots.txt of its origin, found out once for the whole fleet (RFC 9309 §2.3)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Literal
from weakref import WeakValueDictionary

from msgspec import Struct

from crawler import robots
from crawler.errors import FetchError
from crawler.interfaces import Fetcher, Frontier
from crawler.model import Request
from crawler.parsing.robots import ALLOW_ALL, Robots
from crawler.parsing.url import BadUrl, canonical, origin_of

MAX_ORIGINS = 5_000  # rules kept in this process
MAX_BYTES = 4_000_000  # of robots.txt that these rules were read from; they take several times as much
LOCK_SECONDS = 60.0
# After a network error the pages' own retries ask again; this only spares the host a stampede.
ERROR_SECONDS = 5.0


class Verdict(Struct, frozen=True):
    """What robots.txt says about one URL.

    `word`: `allow`, `disallow`; `again` (ask once more in `delay` seconds: somebody is finding out, or the turn went
    to robots.txt itself); `unreachable` (no page may be asked for `delay` seconds, and `why`).
    `asked_at`: monotonic seconds when the host had answered for robots.txt just now; None: it was not asked.
    """

    word: Literal["allow", "disallow", "again", "unreachable"]
    crawl_delay: float | None = None
    delay: float = 0.0
    why: str = ""
    error: FetchError | None = None  # what went wrong when robots.txt was asked for just now
    asked_at: float | None = None


class Known(Struct, frozen=True):
    """An origin's rules in this process."""

    kind: robots.Kind
    rules: Robots
    size: int  # bytes they were read from
    until: float  # monotonic seconds


class RobotsGate:
    """Keeps the rules of the origins met lately."""

    def __init__(
        self, frontier: Frontier, fetcher: Fetcher, *, user_agent: str, cache_seconds: float, max_delay: float
    ) -> None:
        """`cache_seconds`: how long rules hold; `max_delay`: a longer Crawl-delay (seconds) is cut to it."""
        self._frontier = frontier
        self._fetcher = fetcher
        self._agent = robots.agent_token(user_agent)
        self._cache_seconds = cache_seconds
        self._max_delay = max_delay
        self._known: OrderedDict[str, Known] = OrderedDict()  # read lately last
        self._size = 0  # of all of them
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # gone when nobody waits

    async def check(self, request: Request) -> Verdict:
        """The verdict on a request. May fetch robots.txt, which takes the host's turn: then the word is `again`."""
        origin = origin_of(request.url)
        known = self._lookup(origin)
        if known is None:
            lock = self._locks.setdefault(origin, asyncio.Lock())
            async with lock:
                known = self._lookup(origin) or await self._shared(origin)
                if known is None:
                    return await self._find_out(origin)
        return self._judge(known, request.url)

    def _judge(self, known: Known, url: str) -> Verdict:
        if known.kind == "disallow":
            left = max(0.0, known.until - time.monotonic())
            return Verdict("unreachable", delay=left, why=f"robots.txt of {origin_of(url)} could not be had")
        delay = known.rules.crawl_delay(self._agent)
        if not known.rules.allowed(url, self._agent):
            return Verdict("disallow")
        return Verdict("allow", crawl_delay=None if delay is None else min(delay, self._max_delay))

    def _lookup(self, origin: str) -> Known | None:
        known = self._known.get(origin)
        if known is not None and known.until > time.monotonic():
            return known
        return None

    async def _shared(self, origin: str) -> Known | None:
        value = await self._frontier.get_shared(f"robots:{origin}")
        answer = None if value is None else robots.RobotsAnswer.decode(value)
        return None if answer is None else self._keep(origin, answer)

    async def _find_out(self, origin: str) -> Verdict:
        if not await self._frontier.lock_shared(f"robots:{origin}", LOCK_SECONDS):
            return Verdict("again", delay=0.5)
        error = None
        try:
            answer = await self._ask(origin)
        except FetchError as caught:
            error = caught
            answer = robots.RobotsAnswer("disallow", ERROR_SECONDS)
        asked_at = time.monotonic()
        await self._frontier.put_shared(f"robots:{origin}", answer.encode(), answer.seconds)
        known = self._keep(origin, answer)
        if answer.kind == "disallow":
            why = f"robots.txt of {origin} could not be had"
            left = max(0.0, known.until - time.monotonic())
            return Verdict("unreachable", delay=left, why=why, error=error, asked_at=asked_at)
        return Verdict("again", asked_at=asked_at)

    async def _ask(self, origin: str) -> robots.RobotsAnswer:
        """Fetch it, through redirects to other hosts too; each hop passes the address guard of the fetcher.

        Raises `FetchError`.
        """
        url = f"{origin}/robots.txt"
        for _ in range(robots.MAX_REDIRECTS + 1):
            response = await self._fetcher.fetch(Request(url))
            location = response.headers.get("location")
            if not 300 <= response.status < 400 or not location:
                break
            try:
                url = canonical(location, url)
            except BadUrl:
                break
        return robots.verdict_source(response.status, response.body, seconds=self._cache_seconds)

    def _keep(self, origin: str, answer: robots.RobotsAnswer) -> Known:
        rules = Robots.parse(answer.body) if answer.kind == "rules" else ALLOW_ALL
        # refreshed from the fleet's copy every few minutes, so that the time limit there is the one that counts
        known = Known(answer.kind, rules, len(answer.body), time.monotonic() + min(answer.seconds, 300.0))
        before = self._known.pop(origin, None)
        self._size += known.size - (before.size if before else 0)
        self._known[origin] = known
        while len(self._known) > MAX_ORIGINS or self._size > MAX_BYTES:
            self._size -= self._known.popitem(last=False)[1].size
        return known
