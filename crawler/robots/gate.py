"""Decides by robots.txt whether a URL may be fetched; one worker asks for the whole fleet (RFC 9309 §2.3)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

import structlog
from msgspec import Struct
from msgspec.structs import replace

from crawler import policy
from crawler.errors import FetchError
from crawler.interfaces import HIT, Asking, Fetcher
from crawler.model import Lease, Request
from crawler.parsing import robots_lines
from crawler.parsing.url import BadUrl, canonical, origin_of
from crawler.response import Response
from crawler.robots import answer as robots
from crawler.robots.file import ALLOW_ALL, Robots
from crawler.runtime.safe_text import shown

log = structlog.get_logger()

MAX_ORIGINS = 5_000  # for which this process keeps rules
MAX_BYTES = 4_000_000  # of the robots.txt files of these rules; the parsed rules take several times as much memory
ASK_SECONDS = 50.0  # limit for robots.txt with all its redirects
MAX_HOP_DELAY = 5.0  # seconds between two of its redirects
SHOWN_LINES, SHOWN_LENGTH = 3, 100  # Sitemap lines without a URL that one log line shows, and characters of each
REFRESH_SECONDS = 300.0  # after which this process reads the shared copy again


class Verdict(Struct, frozen=True):
    """What robots.txt says about one URL.

    `word`: `allow`; `disallow`; `again` (hand the page back, because another page asks or this turn went to robots.txt;
    the frontier knows when the page may come again); `unreachable` (fetch no page for `delay` seconds).
    `asked_at`: monotonic seconds when the host answered this request for robots.txt; None if it was not asked.
    """

    word: Literal["allow", "disallow", "again", "unreachable"]
    crawl_delay: float | None = None
    delay: float = 0.0
    why: str = ""  # for `disallow` the rule, for `unreachable` the answer
    error: FetchError | None = None  # why this request for robots.txt failed
    noted: Mapping[str, int] = {}  # what the job counts of the answer to this request, by its counters
    asked_at: float | None = None
    sitemaps: tuple[str, ...] = ()  # canonical URLs, when the job of the request first meets this origin
    listed: frozenset[str] = frozenset()  # the same URLs, whenever the job reads them


class Cached(Struct, frozen=True):
    """An origin's rules in this process."""

    answer: robots.RobotsAnswer  # without its body
    rules: Robots
    size: int  # bytes of the robots.txt that are kept
    mark: int  # hash of those bytes
    until: float  # Unix seconds
    crawl_delay: float | None  # seconds, cut to ROBOTSTXT_MAX_DELAY
    sitemaps: tuple[str, ...]
    listed: frozenset[str]  # the same
    unusable: tuple[str, ...]  # values of Sitemap lines without a URL that can be fetched
    offered: set[str]  # jobs that were offered the sitemaps

    @property
    def is_cut(self) -> bool:
        """Whether the robots.txt is longer than what is read of it."""
        return self.size > robots_lines.MAX_BYTES


class RobotsGate:
    """Gives verdicts on pages. Keeps the rules of the origins that it read last."""

    def __init__(
        self,
        asking: Asking,
        fetcher: Fetcher,
        *,
        worker: str,
        user_agent: str,
        cache_seconds: float,
        max_delay: float,
        hop_delay: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`worker` holds the leases to check. `cache_seconds`: how long rules are valid. `max_delay`: the longest
        Crawl-delay, in seconds; the gate cuts longer ones. `hop_delay`: seconds between the redirects of a robots.txt,
        because most lead to the same host. `clock` returns Unix seconds, because machines share the time of an answer.
        """
        self._asking = asking
        self._fetcher = fetcher
        self._worker = worker
        self._agent = robots.agent_token(user_agent)
        self._cache_seconds = cache_seconds
        self._max_delay = max_delay
        self._hop_delay = min(hop_delay, MAX_HOP_DELAY)
        self._clock = clock
        self._known: OrderedDict[str, Cached] = OrderedDict()  # oldest first
        self._size = 0  # bytes of all these robots.txt files

    async def check(self, lease: Lease, job: str | None = None, fetcher: Fetcher | None = None) -> Verdict:
        """The verdict on a page. May fetch robots.txt, which uses the host's turn; the word is then `again`.

        `job`: the job to offer the origin's sitemaps to; None to offer them to nobody. `fetcher`: the one of the
        spider, if it has its own.
        """
        url = lease.request.url
        origin = origin_of(url)
        known = self._lookup(origin) or await self._shared(origin)
        if known is None:
            if not await self._asking.take_host(self._worker, lease):
                return Verdict("again")
            known = await self._shared(origin)  # the previous asker may have fetched it
            if known is None:
                return await self._find_out(origin, job, fetcher or self._fetcher)
        return self._judge(known, url, job)

    def _judge(self, known: Cached, url: str, job: str | None) -> Verdict:
        if known.answer.kind == "disallow":
            return self._unreachable(known, origin_of(url))
        sitemaps = _offer(known, job) if known.sitemaps and job else ()
        rule = known.rules.rule(url, self._agent)
        if rule is not None and not rule.allow:
            return Verdict("disallow", why=str(rule), sitemaps=sitemaps)
        listed = known.listed if job else frozenset[str]()
        return Verdict("allow", crawl_delay=known.crawl_delay, sitemaps=sitemaps, listed=listed)

    def _unreachable(self, known: Cached, origin: str) -> Verdict:
        status = known.answer.status
        what = f"answered with status {status}" if status else "gave no answer"
        left = max(0.0, known.until - self._clock())
        return Verdict("unreachable", delay=left, why=f"{origin}/robots.txt {what}, so no page may be fetched")

    def _lookup(self, origin: str) -> Cached | None:
        known = self._known.get(origin)
        if known is not None and known.until > self._clock():
            return known
        return None

    async def _shared(self, origin: str) -> Cached | None:
        value = await self._asking.get_shared(f"robots:{origin}")
        answer = None if value is None else robots.RobotsAnswer.decode(value)
        return None if answer is None else self._keep(origin, answer)

    async def _find_out(self, origin: str, job: str | None, fetcher: Fetcher) -> Verdict:
        error, was_asked = None, True
        try:
            answer, was_asked = await self._ask_in_time(origin, fetcher)
        except FetchError as caught:
            error = caught
            answer = robots.verdict_source(caught, now=self._clock())
        asked_at = time.monotonic() if was_asked else None
        known = self._keep(origin, answer)
        await self._asking.put_shared(f"robots:{origin}", answer.encode(), answer.seconds)
        if answer.kind == "disallow":
            return replace(self._unreachable(known, origin), error=error, asked_at=asked_at)
        noted = self._say_what_is_lost(origin, known, wants_sitemaps=bool(job))
        return Verdict("again", asked_at=asked_at, noted=noted, sitemaps=_offer(known, job) if job else ())

    async def _ask_in_time(self, origin: str, fetcher: Fetcher) -> tuple[robots.RobotsAnswer, bool]:
        """Fetch robots.txt within `ASK_SECONDS`. Raises `FetchError`, after that time with kind `timeout`."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._ask(origin, fetcher)
        except TimeoutError:
            why = f"{origin}/robots.txt did not arrive within {ASK_SECONDS:g} seconds, redirects included"
            raise FetchError("timeout", why, transient=True) from None

    async def _ask(self, origin: str, fetcher: Fetcher) -> tuple[robots.RobotsAnswer, bool]:
        """Fetch robots.txt and follow its redirects, even to other hosts. The fetcher's address guard checks each hop.
        Also return whether a host was asked: not if it all came from the page cache.

        Raises `FetchError`.
        """
        url, was_asked = f"{origin}/robots.txt", False
        for _ in range(robots.MAX_REDIRECTS + 1):
            response = await fetcher.fetch(Request(url))
            was_asked = was_asked or response.cache != HIT
            location = response.headers.get("location")
            if not 300 <= response.status < 400 or not location:
                break
            try:
                url = canonical(location, url)
            except BadUrl:
                break
            await asyncio.sleep(self._hop_delay if response.cache != HIT else 0)
        body = _text_of(response) if 200 <= response.status < 300 else b""
        now = self._clock()
        pause = policy.pause(response, now)
        answer = robots.verdict_source(response.status, body, seconds=self._cache_seconds, pause=pause, now=now)
        return answer, was_asked

    def _say_what_is_lost(self, origin: str, known: Cached, *, wants_sitemaps: bool) -> dict[str, int]:
        """Log what the gate cuts and cannot use, and return what the job counts of it. Only the asker does, so it
        appears once per fetch of robots.txt."""
        noted = {}
        if known.is_cut:
            noted["cut/robots"] = 1
            log.warning(
                "robots_txt_cut", origin=origin, why=f"only its first {robots_lines.MAX_BYTES:,} bytes are read"
            )
        asked = known.rules.crawl_delay(self._agent)
        if asked is not None and asked > self._max_delay:
            log.warning(
                "crawl_delay_cut",
                origin=origin,
                asked=asked,
                used=self._max_delay,
                why="its robots.txt asks for more seconds than ROBOTSTXT_MAX_DELAY",
            )
        if known.unusable and wants_sitemaps:
            noted["links/robots_sitemaps"] = len(known.unusable)
            shows = ", ".join(shown(value or "(empty)")[:SHOWN_LENGTH] for value in known.unusable[:SHOWN_LINES])
            log.warning(
                "robots_sitemaps_unusable",
                origin=origin,
                lines=len(known.unusable),
                why=f"Sitemap lines of its robots.txt without a URL that can be fetched: {shows}",
            )
        return noted

    def _keep(self, origin: str, answer: robots.RobotsAnswer) -> Cached:
        before = self._known.pop(origin, None)
        known = self._read(origin, answer, before)
        self._size += known.size - (before.size if before else 0)
        self._known[origin] = known
        while len(self._known) > MAX_ORIGINS or self._size > MAX_BYTES:
            self._size -= self._known.popitem(last=False)[1].size
        return known

    def _read(self, origin: str, answer: robots.RobotsAnswer, before: Cached | None) -> Cached:
        mark = hash(answer.body)
        if before is not None and before.mark == mark and before.size == len(answer.body):
            rules = before.rules  # unchanged, as most files are for months
        else:
            rules = Robots.parse(answer.body) if answer.body else ALLOW_ALL
        asked = rules.crawl_delay(self._agent)
        left = max(answer.left(self._clock()), 1.0)  # the shared copy exists, so keep it 1 s even if the clocks differ
        if answer.kind != "disallow":
            left = min(left, REFRESH_SECONDS)
        sitemaps, unusable = robots_lines.usable_sitemaps(rules.sitemaps, f"{origin}/robots.txt")
        return Cached(
            answer=replace(answer, body=b""),
            rules=rules,
            size=len(answer.body),
            mark=mark,
            until=self._clock() + left,
            crawl_delay=None if asked is None else min(asked, self._max_delay),
            sitemaps=tuple(sitemaps),
            listed=frozenset(sitemaps),
            unusable=tuple(unusable),
            offered=set(),
        )


def _text_of(response: Response) -> bytes:
    """Return the robots.txt. Raise `FetchError` if it is no text."""
    try:
        return robots_lines.as_text(response.body)
    except ValueError as error:
        raise FetchError("decode", f"{response.url}: {error}", transient=True) from None


def _offer(known: Cached, job: str) -> tuple[str, ...]:
    """Return the sitemaps once per job, and again after each refresh of the rules: the page that received them may have
    been lost with its worker."""
    if job in known.offered:
        return ()
    known.offered.add(job)
    return known.sitemaps
