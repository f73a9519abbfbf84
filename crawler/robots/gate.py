"""Decides by robots.txt whether a URL may be fetched; one worker asks for the whole fleet (RFC 9309 §2.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
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
from crawler.robots.file import decide
from crawler.robots.kept import File, Files, bytes_of
from crawler.runtime.oldest import oldest
from crawler.runtime.safe_text import shown

log = structlog.get_logger()

MAX_ORIGINS = 150_000  # for which this process keeps rules; some 250 bytes each besides the file
MAX_BYTES = 24_000_000  # of what it keeps of their different robots.txt files
READY_BYTES = 500_000  # of the rules that are ready for verdicts, which take ten times as much memory
FEW = 16  # sitemaps of an origin that are searched one by one
SET_BYTES = 64  # memory that a set takes for a member
ASK_SECONDS = 50.0  # limit for robots.txt with all its redirects
MAX_HOP_DELAY = 5.0  # seconds between two of its redirects
SHOWN_LINES, SHOWN_LENGTH = 3, 100  # Sitemap lines without a URL that one log line shows, and characters of each
REFRESH_SECONDS = 300.0  # after which this process reads the shared copy again
TOLD_SECONDS = 7 * 86_400.0  # for which no process counts for a job again what it loses of a robots.txt
CUT, UNUSABLE = "cut/robots", "links/robots_sitemaps"  # counters of that


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
    noted: Mapping[str, int] = {}  # what the job loses of robots.txt, by its counters, when it first meets this origin
    asked_at: float | None = None
    sitemaps: tuple[str, ...] = ()  # canonical URLs, when the job of the request first meets this origin
    listed: Collection[str] = ()  # the same URLs, whenever the job reads them


class Cached(Struct, gc=False):
    """What this process knows of an origin."""

    until: float  # Unix seconds
    file: File
    error_status: int | None = None  # if no page may be fetched: the status of its robots.txt, 0 for no answer
    sitemaps: tuple[str, ...] = ()  # the URLs of the file's Sitemap lines
    listed: Collection[str] = ()  # the same, fast to search
    offered: frozenset[str] = frozenset()  # epochs of the jobs that were offered the sitemaps
    lost: tuple[tuple[str, int], ...] = ()  # counters of what is not read of the file
    told: frozenset[tuple[str, str]] = frozenset()  # counter and epoch of a job that has counted it, or need not

    @property
    def size(self) -> int:
        """Bytes of memory that its sitemaps take besides the file's."""
        own = 0 if self.sitemaps is self.file.sitemaps else bytes_of(self.sitemaps)
        return own if self.listed is self.sitemaps else own + SET_BYTES * len(self.listed)


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
        self._cached: dict[str, Cached] = {}  # by origin, those read longest ago first
        self._files = Files(self._agent, READY_BYTES)
        self._size = 0  # bytes of what is not in the files

    async def check(self, lease: Lease, fetcher: Fetcher | None = None, *, sitemaps: bool = False) -> Verdict:
        """The verdict on a page. May fetch robots.txt, which uses the host's turn; the word is then `again`.

        `fetcher`: the one of the spider, if it has its own. `sitemaps`: whether to offer the origin's to the job.
        """
        url = lease.request.url
        origin = origin_of(url)
        cached = self._lookup(origin) or await self._shared(origin)
        if cached is None:
            if not await self._asking.take_host(self._worker, lease):
                return Verdict("again")
            if await self._shared(origin):  # the previous asker has fetched it
                return Verdict("again")  # it comes back without the host, which the others would wait for
            return await self._find_out(origin, lease, fetcher or self._fetcher, sitemaps)
        verdict = self._judge(cached, url, lease.epoch if sitemaps else None)
        return replace(verdict, noted=await self._noted(cached, lease, sitemaps)) if cached.lost else verdict

    def _judge(self, cached: Cached, url: str, epoch: str | None) -> Verdict:
        """`epoch`: of the job to offer the sitemaps to; None to offer them to nobody."""
        if cached.error_status is not None:
            return self._unreachable(cached, origin_of(url))
        sitemaps = _offer(cached, epoch) if cached.sitemaps and epoch is not None else ()
        rule = decide(self._files.ready(cached.file), url) if cached.file.rules.text else None
        if rule is not None and not rule.allow:
            return Verdict("disallow", why=str(rule), sitemaps=sitemaps)
        asked = cached.file.delay
        crawl_delay = None if asked is None else min(asked, self._max_delay)
        listed = () if epoch is None else cached.listed
        return Verdict("allow", crawl_delay=crawl_delay, sitemaps=sitemaps, listed=listed)

    def _unreachable(self, cached: Cached, origin: str) -> Verdict:
        what = f"answered with status {cached.error_status}" if cached.error_status else "gave no answer"
        left = max(0.0, cached.until - self._clock())
        return Verdict("unreachable", delay=left, why=f"{origin}/robots.txt {what}, so no page may be fetched")

    def _lookup(self, origin: str) -> Cached | None:
        cached = self._cached.get(origin)
        if cached is not None and cached.until > self._clock():
            return cached
        return None

    async def _shared(self, origin: str) -> Cached | None:
        value = await self._asking.get_shared(f"robots:{origin}")
        answer = None if value is None else robots.RobotsAnswer.decode(value)
        return None if answer is None else self._keep(origin, answer)

    async def _find_out(self, origin: str, lease: Lease, fetcher: Fetcher, wants_sitemaps: bool) -> Verdict:
        error, was_asked = None, True
        try:
            answer, was_asked = await self._ask_in_time(origin, fetcher)
        except FetchError as caught:
            error = caught
            answer = robots.verdict_source(caught, now=self._clock())
        asked_at = time.monotonic() if was_asked else None
        cached = self._keep(origin, answer)
        await self._asking.put_shared(f"robots:{origin}", answer.encode(), answer.seconds)
        if answer.kind == "disallow":
            return replace(self._unreachable(cached, origin), error=error, asked_at=asked_at)
        self._say_if_delay_is_cut(origin, cached.file)
        noted = await self._noted(cached, lease, wants_sitemaps)
        sitemaps = _offer(cached, lease.epoch) if wants_sitemaps else ()
        return Verdict("again", asked_at=asked_at, noted=noted, sitemaps=sitemaps)

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

    def _say_if_delay_is_cut(self, origin: str, file: File) -> None:
        """Log it. Only the asker does, so it appears once per fetch of robots.txt."""
        if file.delay is not None and file.delay > self._max_delay:
            log.warning(
                "crawl_delay_cut",
                origin=origin,
                asked=file.delay,
                used=self._max_delay,
                why="its robots.txt asks for more seconds than ROBOTSTXT_MAX_DELAY",
            )

    async def _noted(self, cached: Cached, lease: Lease, wants_sitemaps: bool) -> dict[str, int]:
        """Return what the lease's job has not counted yet of what is lost of a robots.txt, and log it."""
        noted, origin = {}, origin_of(lease.request.url)
        for counter, count in cached.lost:
            mark = (counter, lease.epoch)
            if mark in cached.told or (counter == UNUSABLE and not wants_sitemaps):
                continue
            cached.told |= {mark}  # before others of this process look
            if await self._is_first(f"robots_told:{counter}:{lease.epoch}:{origin}"):
                noted[counter] = count
                _say_lost(counter, origin, cached.file)
        return noted

    async def _is_first(self, key: str) -> bool:
        """Whether no other process has counted it for the job: what several processes meet counts once."""
        if await self._asking.get_shared(key) is not None:
            return False
        await self._asking.put_shared(key, b"1", TOLD_SECONDS)
        return True

    def _keep(self, origin: str, answer: robots.RobotsAnswer) -> Cached:
        cached = self._read(origin, answer)
        self._forget(origin)  # after reading, so that a file that has not changed is not read again
        self._cached[origin] = cached
        self._size += cached.size
        while len(self._cached) > MAX_ORIGINS or self._size + self._files.size > MAX_BYTES:
            for oldest_origin in oldest(self._cached):
                self._forget(oldest_origin)
        return cached

    def _forget(self, origin: str) -> None:
        cached = self._cached.pop(origin, None)
        if cached is not None:
            self._size -= cached.size
            self._files.release(cached.file)

    def _read(self, origin: str, answer: robots.RobotsAnswer) -> Cached:
        file = self._files.take(answer.body)
        left = max(answer.left(self._clock()), 1.0)  # the shared copy exists, so keep it 1 s even if the clocks differ
        if answer.kind == "disallow":
            return Cached(self._clock() + left, file, answer.status)
        usable, unusable = robots_lines.usable_sitemaps(file.sitemaps, f"{origin}/robots.txt")
        sitemaps = tuple(usable)
        if sitemaps == file.sitemaps:
            sitemaps = file.sitemaps  # one copy is enough
        listed = sitemaps if len(sitemaps) <= FEW else frozenset(sitemaps)
        counts = ((CUT, int(len(answer.body) > robots_lines.MAX_BYTES)), (UNUSABLE, len(unusable)))
        lost = tuple((counter, count) for counter, count in counts if count)
        return Cached(self._clock() + min(left, REFRESH_SECONDS), file, None, sitemaps, listed, lost=lost)


def _text_of(response: Response) -> bytes:
    """Return the robots.txt. Raise `FetchError` if it is no text."""
    try:
        return robots_lines.as_text(response.body)
    except ValueError as error:
        raise FetchError("decode", f"{response.url}: {error}", transient=True) from None


def _say_lost(counter: str, origin: str, file: File) -> None:
    if counter == CUT:
        log.warning("robots_txt_cut", origin=origin, why=f"only its first {robots_lines.MAX_BYTES:,} bytes are read")
        return
    unusable = robots_lines.usable_sitemaps(file.sitemaps, f"{origin}/robots.txt")[1]
    shows = ", ".join(shown(value or "(empty)")[:SHOWN_LENGTH] for value in unusable[:SHOWN_LINES])
    log.warning(
        "robots_sitemaps_unusable",
        origin=origin,
        lines=len(unusable),
        why=f"Sitemap lines of its robots.txt without a URL that can be fetched: {shows}",
    )


def _offer(cached: Cached, epoch: str) -> tuple[str, ...]:
    """Return the sitemaps once per job, and again after each refresh of the rules: the page that received them may have
    been lost with its worker."""
    if epoch in cached.offered:
        return ()
    cached.offered |= {epoch}
    return cached.sitemaps
