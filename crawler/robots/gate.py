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
    listed: Collection[str] = ()  # the same URLs, whenever the job reads them


class Cached(Struct, gc=False):
    """What this process knows of an origin."""

    until: float  # Unix seconds
    file: File
    error_status: int | None = None  # if no page may be fetched: the status of its robots.txt, 0 for no answer
    sitemaps: tuple[str, ...] = ()  # the URLs of the file's Sitemap lines
    listed: Collection[str] = ()  # the same, fast to search
    offered: frozenset[str] = frozenset()  # jobs that were offered the sitemaps

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
        self._known: dict[str, Cached] = {}  # by origin, those read longest ago first
        self._files = Files(self._agent, READY_BYTES)
        self._size = 0  # bytes of what is not in the files

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
        if known.error_status is not None:
            return self._unreachable(known, origin_of(url))
        sitemaps = _offer(known, job) if known.sitemaps and job else ()
        rule = decide(self._files.ready(known.file), url) if known.file.rules.text else None
        if rule is not None and not rule.allow:
            return Verdict("disallow", why=str(rule), sitemaps=sitemaps)
        asked = known.file.delay
        crawl_delay = None if asked is None else min(asked, self._max_delay)
        return Verdict("allow", crawl_delay=crawl_delay, sitemaps=sitemaps, listed=known.listed if job else ())

    def _unreachable(self, known: Cached, origin: str) -> Verdict:
        what = f"answered with status {known.error_status}" if known.error_status else "gave no answer"
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
        noted = self._say_what_is_lost(origin, answer, known.file, wants_sitemaps=bool(job))
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

    def _say_what_is_lost(
        self, origin: str, answer: robots.RobotsAnswer, file: File, *, wants_sitemaps: bool
    ) -> dict[str, int]:
        """Log what the gate cuts and cannot use, and return what the job counts of it. Only the asker does, so it
        appears once per fetch of robots.txt."""
        noted = {}
        if len(answer.body) > robots_lines.MAX_BYTES:
            noted["cut/robots"] = 1
            log.warning(
                "robots_txt_cut", origin=origin, why=f"only its first {robots_lines.MAX_BYTES:,} bytes are read"
            )
        if file.delay is not None and file.delay > self._max_delay:
            log.warning(
                "crawl_delay_cut",
                origin=origin,
                asked=file.delay,
                used=self._max_delay,
                why="its robots.txt asks for more seconds than ROBOTSTXT_MAX_DELAY",
            )
        unusable = robots_lines.usable_sitemaps(file.sitemaps, f"{origin}/robots.txt")[1] if wants_sitemaps else []
        if unusable:
            noted["links/robots_sitemaps"] = len(unusable)
            shows = ", ".join(shown(value or "(empty)")[:SHOWN_LENGTH] for value in unusable[:SHOWN_LINES])
            log.warning(
                "robots_sitemaps_unusable",
                origin=origin,
                lines=len(unusable),
                why=f"Sitemap lines of its robots.txt without a URL that can be fetched: {shows}",
            )
        return noted

    def _keep(self, origin: str, answer: robots.RobotsAnswer) -> Cached:
        known = self._read(origin, answer)
        self._forget(origin)  # after reading, so that a file that has not changed is not read again
        self._known[origin] = known
        self._size += known.size
        while len(self._known) > MAX_ORIGINS or self._size + self._files.size > MAX_BYTES:
            for oldest_origin in oldest(self._known):
                self._forget(oldest_origin)
        return known

    def _forget(self, origin: str) -> None:
        known = self._known.pop(origin, None)
        if known is not None:
            self._size -= known.size
            self._files.release(known.file)

    def _read(self, origin: str, answer: robots.RobotsAnswer) -> Cached:
        file = self._files.take(answer.body)
        left = max(answer.left(self._clock()), 1.0)  # the shared copy exists, so keep it 1 s even if the clocks differ
        if answer.kind == "disallow":
            return Cached(self._clock() + left, file, answer.status)
        sitemaps = tuple(robots_lines.usable_sitemaps(file.sitemaps, f"{origin}/robots.txt")[0])
        if sitemaps == file.sitemaps:
            sitemaps = file.sitemaps  # one copy is enough
        listed = sitemaps if len(sitemaps) <= FEW else frozenset(sitemaps)
        return Cached(self._clock() + min(left, REFRESH_SECONDS), file, None, sitemaps, listed)


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
    known.offered |= {job}
    return known.sitemaps
