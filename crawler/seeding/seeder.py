"""Side task: adds a stream of URLs to the frontier in batches, however slow or long it is. Repeating it is safe."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from crawler.interfaces import Adding
from crawler.model import Job, Request
from crawler.parsing.url import host_of
from crawler.runtime.patience import Patience
from crawler.runtime.tasks import end, heed_cancellation
from crawler.seeding.admission import Admission, NotAdmitted
from crawler.seeding.presence import present

BATCH = 500  # seeds per call: the queue server needs a few milliseconds for them, and workers wait meanwhile
AT_ONCE = 4  # batches in flight
TOGETHER = 4000  # seeds sorted by host before they are sent, so that the queue server touches each host less often
AHEAD = 8000  # lines read ahead


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
        admission: Admission,
        *,
        name: str,
        lease_seconds: float,
        refused: Callable[[str, str], None],
    ) -> None:
        """After `lease_seconds` without a sign of life, the seeder no longer counts as at work. It calls
        `refused(url, why)` for each refused seed."""
        self._adding = adding
        self._job = job
        self._admission = admission
        self._name = name
        self._lease = lease_seconds
        self._tell_refused = refused
        self._patiently = Patience("seeding_waits").until_done
        self.new = 0
        self.known = 0
        self.refused: Counter[str] = Counter()
        self.added = asyncio.Event()  # set once all seeds are in the frontier, perhaps not yet on disk

    async def run(self, lines: Iterable[str | Request], progress: Callable[[int, int], None] | None = None) -> None:
        """Add seeds until the stream ends. The job counts as unfinished while this runs."""
        feed = Feed(lines)
        try:
            async with present(self._adding, self._job, self._name, self._lease):
                await self._stream(feed, progress)
        finally:
            feed.stop()
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
                    heed_cancellation()
            while adding:
                await adding.popleft()
            feed.raise_error()  # what came before the error is seeded
        finally:
            await end(*adding)

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

    def _request(self, seed: str | Request) -> Request | None:
        try:
            return self._admission.admit(seed)
        except NotAdmitted as error:
            self.refused[error.reason] += 1
            self._tell_refused(error.url, error.why)
            return None


def _first(requests: deque[Request]) -> list[Request]:
    """Remove and return one batch."""
    return [requests.popleft() for _ in range(min(BATCH, len(requests)))]
