"""Side task: adds a stream of URLs to the frontier in batches, however slow or long it is. Repeating it is safe."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Protocol

from msgspec.structs import replace

from crawler.errors import FrontierError, Refused
from crawler.interfaces import Adding
from crawler.model import Job, Request
from crawler.parsing.url import BadUrl, canonical, host_of
from crawler.runtime.patience import Patience
from crawler.runtime.tasks import end, was_cancelled

BATCH = 500  # seeds per call: the queue server needs a few milliseconds for them, and workers wait meanwhile
AT_ONCE = 4  # batches in flight
TOGETHER = 4000  # seeds sorted by host before they are sent, so that the queue server touches each host less often
AHEAD = 8000  # lines read ahead
_SEED = Request("")


class HostCheck(Protocol):
    """Raises `Refused` for an address literal that may not be asked."""

    def check_host(self, host: str) -> None: ...


class Feed:
    """Reads a blocking stream in a thread, so that a slow stream blocks nothing and a fast one fills no memory."""

    def __init__(self, lines: Iterable[str | Request]) -> None:
        self._lines = lines
        self._read: deque[str | Request] = deque()
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="seeds", daemon=True)
        self._thread.start()

    def take(self) -> list[str | Request] | None:
        """Return the lines read so far, at most a batch; None at the end of the stream, also if that is an error."""
        ended = not self._thread.is_alive()
        batch = [self._read.popleft() for _ in range(min(BATCH, len(self._read)))]
        return batch if batch or not ended else None

    def raise_error(self) -> None:
        """Raise the error that ended the stream, if one did."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Read no more."""
        self._stopped = True

    def _run(self) -> None:
        try:
            for line in self._lines:
                self._read.append(line)
                while len(self._read) >= AHEAD and not self._stopped:
                    time.sleep(0.005)
                if self._stopped:
                    return
        except BaseException as error:  # `raise_error` raises it
            self._error = error


class Seeder:
    """Streams seeds into one job. `new`, `known` and `refused` (by reason) grow as it goes."""

    def __init__(
        self,
        adding: Adding,
        job: Job,
        guard: HostCheck,
        *,
        name: str,
        lease_seconds: float,
        refused: Callable[[str, str], None],
        check: Callable[[Request], Request],
    ) -> None:
        """After `lease_seconds` without a sign of life, the seeder no longer counts as at work. It calls
        `refused(url, why)` for each refused seed. `check(request)` returns the request as it will arrive, or raises
        `ValueError` if it cannot travel."""
        self._adding = adding
        self._job = job
        self._guard = guard
        self._name = name
        self._lease = lease_seconds
        self._tell_refused = refused
        self._check = check
        self._patiently = Patience("seeding_waits").until_done
        self.new = 0
        self.known = 0
        self.refused: Counter[str] = Counter()
        self.added = asyncio.Event()  # set once all seeds are in the frontier, perhaps not yet on disk

    async def run(self, lines: Iterable[str | Request], progress: Callable[[int, int], None] | None = None) -> None:
        """Add seeds until the stream ends. The job counts as unfinished while this runs."""
        feed = Feed(lines)
        await self._patiently(self._be_present)
        present = asyncio.create_task(self._stay_present())  # even while a batch waits for the queue server
        try:
            await self._stream(feed, progress)
        except BaseException:
            await self._end(feed, present)
            with suppress(FrontierError):  # if this fails, the seeder counts as at work until its lease expires
                await self._adding.seeding(self._job, self._name, 0)
            raise
        await self._end(feed, present)
        await self._patiently(lambda: self._adding.seeding(self._job, self._name, 0))
        self.added.set()
        await self._patiently(self._adding.durable)  # report success only after this

    async def _stream(self, feed: Feed, progress: Callable[[int, int], None] | None) -> None:
        adding: deque[asyncio.Task[None]] = deque()
        try:
            # Prepare the next batches while the queue server works on these.
            for batch in self._batches(feed):
                if not batch:
                    await asyncio.sleep(0.01)
                    continue
                adding.append(asyncio.create_task(self._add(batch, progress)))
                if len(adding) >= AT_ONCE:
                    await adding.popleft()
                    _heed_cancellation()
            while adding:
                await adding.popleft()
            feed.raise_error()  # what came before the error is seeded
        finally:
            await end(*adding)

    async def _end(self, feed: Feed, present: asyncio.Task[None]) -> None:
        feed.stop()
        await end(present)

    async def _be_present(self) -> None:
        await self._adding.seeding(self._job, self._name, self._lease)

    async def _stay_present(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            await self._patiently(self._be_present)
            _heed_cancellation()

    def _batches(self, feed: Feed) -> Iterator[list[Request]]:
        """Yield batches to send, with the requests of one host adjacent and in order; an empty one if none is ready."""
        ready: deque[Request] = deque()
        by_host: defaultdict[str, list[Request]] = defaultdict(list)
        waiting = 0  # lines whose requests are not in `ready` yet
        while (lines := feed.take()) is not None:
            for line in lines:
                if (request := self._request(line)) is not None:
                    by_host[host_of(request.url)].append(request)
            waiting += len(lines)
            if waiting >= TOGETHER or not lines:
                ready.extend(chain.from_iterable(by_host.values()))
                by_host.clear()
                waiting = 0
            if ready or not waiting:
                yield _first(ready)
        ready.extend(chain.from_iterable(by_host.values()))
        while ready:
            yield _first(ready)

    async def _add(self, requests: list[Request], progress: Callable[[int, int], None] | None) -> None:
        added = await self._patiently(lambda: self._adding.add(self._job, requests, seed=True))
        self.new += added.new
        self.known += added.known
        if progress is not None:
            progress(self.new, self.known)

    def _request(self, line: str | Request) -> Request | None:
        text = line if isinstance(line, str) else line.url
        try:
            url = canonical(text)
            self._guard.check_host(host_of(url))
        except BadUrl as error:
            self.refused["bad url"] += 1
            self._tell_refused(text, error.why)
            return None
        except Refused as error:
            self.refused["address not permitted"] += 1
            self._tell_refused(text, str(error))
            return None
        if isinstance(line, str):
            return replace(_SEED, url=url, spider=self._job.spider)
        try:
            return self._check(replace(line, url=url, depth=0, spider=line.spider or self._job.spider))
        except ValueError as error:
            self.refused["cannot travel"] += 1
            self._tell_refused(text, str(error))
            return None


def _first(requests: deque[Request]) -> list[Request]:
    """Remove and return one batch."""
    return [requests.popleft() for _ in range(min(BATCH, len(requests)))]


def _heed_cancellation() -> None:
    if was_cancelled():
        raise asyncio.CancelledError
