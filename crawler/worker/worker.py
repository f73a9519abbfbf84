"""Runs many visits at once: claims when it has room, commits in batches, and hands everything back when stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import FrontierError, FrontierReplaced, OutputError, ReplicasMissing
from crawler.interfaces import Archive, Pace, Queue
from crawler.model import LACKING, Claim, Failure, Job, Junk, Lease, Release, Visit
from crawler.runtime.incident import Incident
from crawler.runtime.patience import Patience
from crawler.runtime.tasks import end
from crawler.worker.concurrency import Concurrency
from crawler.worker.lease import LeaseClock
from crawler.worker.process_stats import Tally

log = structlog.get_logger()

CHECK_SECONDS = 0.1  # between checks of a lease that is over
OFTEN = 1.0  # seconds at most between checks of a valid lease, because timers do not run while the machine sleeps
POLL_SECONDS = 0.5  # at most between claims when there is nothing to do
LEFT_SECONDS = 10.0  # for which a worker claims nothing of a job whose spider it lacks
SET_ASIDE = 60.0  # seconds for which a message of an unknown version waits for a worker that knows it
COMMIT_BATCH = 128  # visits committed in one step
COMMIT_SHARE = 4  # finished visits wait until they are a quarter of those in flight, because round trips cost CPU
COMMIT_WAIT = 0.01  # seconds at most of that
COMMIT_BYTES = 8_000_000  # bytes of items and links in one step, unless a single visit has more
LINK_BYTES = 200  # bytes that a link counts for
LAST_CLAIM = 1.0  # seconds for a claim that is under way when the worker stops
MAX_SHOWN = 1_000  # requests in flight in the answer to `active`
LAST_COMMIT = 5.0  # seconds for the last commit before the worker ends


class WorkerOptions(Struct, frozen=True):
    """`name` is unique in the fleet and new for each start; times in seconds."""

    name: str
    pace: Pace
    concurrency: int = 64
    grace_seconds: float = 20.0
    recycle_pages: int = 0  # pages after which the worker ends by itself; 0: never


class Worker:
    """Runs the visits of one event loop.

    Stopping has an order: stop claiming; let visits end within the grace time; hand the rest back; commit.
    """

    def __init__(
        self,
        queue: Queue,
        visit: Callable[[Lease], Awaitable[Visit]],
        jobs: Callable[[], Awaitable[Sequence[Job]]],
        options: WorkerOptions,
        tally: Tally,
        lease: LeaseClock,
        note: Callable[[Lease, Visit], None] = lambda lease, visit: None,
        archive: Archive | None = None,
    ) -> None:
        """`jobs()` returns the jobs to work for now; the worker calls `note` with each visit that has ended, and lets
        `archive` write the pages to disk before it commits them."""
        self._archive = archive
        self._disk = Patience("archive_waits", (OutputError,))
        self._queue = queue
        self._visit = visit
        self._jobs = jobs
        self._options = options
        self._tally = tally
        self._lease = lease
        self._note = note
        self._visits: dict[asyncio.Task[Visit], Lease] = {}
        self._finished: list[tuple[Lease, Visit]] = []
        self._uncommitted = 0
        self._ended = 0  # pages that have ended; those that were handed back do not count
        self._stopping = asyncio.Event()
        self._now = asyncio.Event()  # set by the second `stop`: hand back at once
        self._has_room = asyncio.Event()
        self._has_finished = asyncio.Event()
        self._has_company = asyncio.Event()
        self._all_committed = asyncio.Event()
        self._patience = Patience("queue_server_away")
        self._replicas = Patience("replicas_missing", (ReplicasMissing,))  # an outage for links, but not for claims
        self._lease_over = Incident("lease_not_renewed")
        self._concurrency = Concurrency(options.concurrency)
        self._left: dict[str, float] = {}  # job → until when it is left to workers that have what this one lacks
        self._lacks: set[tuple[str, str]] = set()  # (job, spider) that were logged as lacking something
        self._read_at: dict[str, float] = {}  # job → when this worker last visited a page that it could read
        self._missed: set[str] = set()  # jobs whose last page this worker could not read
        self._too_new: set[tuple[str, int]] = set()  # (job, message version) that were logged as unknown

    def stop(self) -> None:
        """Drain within the grace time; the second call hands everything back at once."""
        if self._stopping.is_set():
            self._now.set()
        self._stopping.set()
        self._has_room.set()

    async def run(self) -> None:
        """Work until stopped, or until `recycle_pages` are committed and nothing is in flight.

        Raises `FrontierReplaced` if the server has lost the jobs.
        """
        committing = asyncio.create_task(self._commit_for_ever(), name="commit")
        claiming = asyncio.create_task(self._claim_until_stopped(), name="claim")
        self._mind_the_lease()
        try:
            await self._until_stopped(committing, claiming)
            await self._drain()
            await self._hand_back()
            await self._commit_rest(committing)
        finally:
            self._minding.cancel()
            await end(committing, claiming, *self._visits)

    async def _until_stopped(self, committing: asyncio.Task[None], claiming: asyncio.Task[None]) -> None:
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({committing, claiming, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        # Do not wait long for a claim without a reply: its requests go back when the worker signs off.
        await asyncio.wait({claiming}, timeout=LAST_CLAIM)
        for task in (committing, claiming):
            if task.done():
                task.result()  # an error in a side task ends the worker
        claiming.cancel()

    def active(self) -> list[dict[str, Any]]:
        """The requests in flight, those claimed longest ago first: at most a thousand."""
        now = time.monotonic()
        leases = sorted(self._visits.values(), key=lambda lease: lease.claimed_at)[:MAX_SHOWN]
        return [
            {
                "job": lease.job,
                "url": lease.request.url,
                "spider": lease.request.spider,
                "seconds": round(now - lease.claimed_at, 3),
                "attempt": lease.attempt,
            }
            for lease in leases
        ]

    # --- claiming

    async def _claim_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._has_room.clear()  # before the check, so that room freed during the claim also wakes this task
            if self._is_spent():
                self.stop()
                return
            free = self._room()
            pause = self._concurrency.pause(time.monotonic())
            if free <= 0 or pause:
                await self._wait_for_room(pause or None)
                continue
            if not self._has_lease():
                await self._wait_for_room(CHECK_SECONDS)
                continue
            claim = await self._patience.attempt(partial(self._claim, free)) or Claim(idle="queue server away")
            for lease in claim.leases:
                self._start(lease)
            for junk in claim.junk:
                await self._remove(junk)
            self._tally.idle = claim.idle
            if not claim.leases:
                await self._wait_for_room(POLL_SECONDS if claim.wait is None else min(claim.wait, POLL_SECONDS))

    def _room(self) -> int:
        """The requests to claim now: at most as many as there are free places, and pages left to `recycle_pages`."""
        free = self._concurrency.allowed - len(self._visits) - self._uncommitted
        most = self._options.recycle_pages
        return min(free, most - self._ended - len(self._visits)) if most else free

    def _is_spent(self) -> bool:
        return 0 < self._options.recycle_pages <= self._ended and not self._visits and not self._uncommitted

    async def _claim(self, limit: int) -> Claim:
        now = time.monotonic()
        all_jobs = await self._jobs()
        jobs = [job for job in all_jobs if self._left.get(job.name, now) <= now]
        if not jobs:
            return Claim(idle=LACKING if all_jobs else "no job")
        claim = await self._queue.claim(self._options.name, limit, jobs, self._options.pace)
        if not claim.leases and self._missed.issuperset(job.name for job in all_jobs):
            return replace(claim, idle=LACKING)
        return claim

    async def _wait_for_room(self, seconds: float | None) -> None:
        """Wait until a commit has made room (and maybe freed a host), or that many seconds have passed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_room.wait(), None if seconds is None else max(0.001, seconds))

    async def _remove(self, junk: Junk) -> None:
        """Move junk to the dead letters, or set a message of an unknown version aside for a worker that knows it.

        Retries until it succeeds: in the processing list the bytes would keep the job from finishing while the worker
        lives.
        """
        self._say(junk)
        try:
            await self._patience.until_done(partial(self._put_away, junk), self._stopping)
        except FrontierReplaced:
            raise
        except FrontierError:
            return  # the job was deleted meanwhile, or the worker stops during an outage

    def _say(self, junk: Junk) -> None:
        """Log each piece of junk, but each unknown version of a job only once, because its messages come back often."""
        if junk.version is None:
            log.warning("junk_in_queue", job=junk.job, why=junk.why)
        elif (junk.job, junk.version) not in self._too_new:
            self._too_new.add((junk.job, junk.version))
            log.warning("requests_wait_for_newer_worker", job=junk.job, why=junk.why)

    async def _put_away(self, junk: Junk) -> None:
        for job in await self._jobs():
            if job.name != junk.job:
                continue
            if junk.version is None:
                await self._queue.bury(self._options.name, job, junk.message, Failure("junk", junk.why))
            else:
                await self._queue.set_aside(self._options.name, job, junk.message, SET_ASIDE)

    # --- the lease

    def _mind_the_lease(self, was_valid: bool = True) -> None:
        """Cancel all visits when the lease runs out, and repeat that until they have ended.

        It is a timer, not a task: when a frozen process wakes up, timers run before any visit goes on.
        """
        is_valid = self._lease.is_valid
        if not is_valid:
            if was_valid:
                count = len(self._visits)
                why = f"cut off from the queue server, or frozen: {count} requests ended, others may have them now"
                self._lease_over.met(why)
            for task in self._visits:
                task.cancel()
        due = min(self._lease.left, OFTEN) if is_valid else CHECK_SECONDS
        self._minding = asyncio.get_running_loop().call_later(due, self._mind_the_lease, is_valid)

    def _has_lease(self) -> bool:
        """Whether the worker may claim. Visits that began under a lease that is over must have ended first."""
        if self._lease.is_valid:
            return True
        if self._visits or not self._lease.begin_anew():
            return False
        self._lease_over.over()
        return True

    # --- visiting

    def _start(self, lease: Lease) -> None:
        task = asyncio.create_task(self._tell(lease))
        self._visits[task] = lease
        task.add_done_callback(self._finish)  # a callback, because the task may be cancelled before it begins
        self._tally.in_flight = len(self._visits)

    async def _tell(self, lease: Lease) -> Visit:
        """Visit one lease, or release it if the queue server is away."""
        try:
            return await self._visit(lease)
        except FrontierError as error:
            self._patience.met(error)
            return Visit(Release("queue server away"))

    def _finish(self, task: asyncio.Task[Visit]) -> None:
        lease = self._visits.pop(task)
        visit = Visit(Release("cancelled")) if task.cancelled() else task.result()
        self._ended += not isinstance(visit.outcome, Release)
        self._tally.visited(lease, visit)
        self._note(lease, visit)
        self._note_limits(lease, visit)
        self._tally.in_flight = len(self._visits)
        self._finished.append((lease, visit))
        self._uncommitted += 1
        self._all_committed.clear()
        self._has_finished.set()
        if self._are_enough():
            self._has_company.set()

    def _note_limits(self, lease: Lease, visit: Visit) -> None:
        match visit.outcome:
            case Release(lacks=why) if why:
                self._miss(lease, why)
                return
            case Release(own_limit=limit) if limit:
                self._concurrency.met(limit, lease.claimed_at, time.monotonic())
            case _ if visit.asked_at is not None:
                self._concurrency.went_well(lease.claimed_at)
        self._tally.own_limit = self._concurrency.why
        self._read_at[lease.job] = time.monotonic()
        self._missed.discard(lease.job)

    def _miss(self, lease: Lease, why: str) -> None:
        """Log once what this worker lacks for a page. Then claim no page of its job for a while, unless the worker has
        lately read other pages of the job: then the page's own delay is enough."""
        now = time.monotonic()
        pair = (lease.job, lease.request.spider)
        if pair not in self._lacks:
            self._lacks.add(pair)
            log.warning("spider_unusable", job=lease.job, spider=lease.request.spider, why=why)
        self._missed.add(lease.job)
        if now - self._read_at.get(lease.job, -LEFT_SECONDS) >= LEFT_SECONDS:
            self._left[lease.job] = now + LEFT_SECONDS

    # --- committing

    async def _commit_for_ever(self) -> None:
        while True:
            await self._has_finished.wait()
            await self._wait_for_company()
            batch = self._next_batch()
            accepted = await self._commit(batch)
            del self._finished[: len(batch)]
            self._uncommitted -= len(batch)
            if not self._finished:
                self._has_finished.clear()
                self._all_committed.set()
            self._has_room.set()
            fenced = accepted.count(False)
            if fenced:
                log.warning("late_commit_refused", requests=fenced, why="other workers took these requests over")
                self._tally.fenced += fenced

    async def _wait_for_company(self) -> None:
        """Wait until enough visits have finished, but not for long.

        A finished visit counts as in flight at its host until it is committed. If hosts permit few requests at once, a
        long wait would leave these idle.
        """
        self._has_company.clear()
        if not self._are_enough():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_company.wait(), COMMIT_WAIT)

    def _are_enough(self) -> bool:
        return len(self._finished) * COMMIT_SHARE >= len(self._finished) + len(self._visits)

    def _next_batch(self) -> list[tuple[Lease, Visit]]:
        """The oldest finished visits, but not more than the server can process within the time for one reply."""
        batch = self._finished[:COMMIT_BATCH]
        size = 0
        for number, (_, visit) in enumerate(batch):
            size += sum(map(len, visit.items)) + LINK_BYTES * len(visit.links)
            if size > COMMIT_BYTES:
                return batch[: max(1, number)]
        return batch

    @property
    def _obstacle(self) -> str:
        return "the disk of WARC_DIR" if self._disk.is_waiting else "the queue server"

    async def _commit(self, batch: Sequence[tuple[Lease, Visit]]) -> list[bool]:
        """Commit the batch, and retry until the server answers. A repeated batch counts once."""
        if self._archive is not None:
            await self._disk.until_done(self._archive.sync)
        commit = partial(self._queue.commit, self._options.name, batch, self._options.pace)
        return await self._patience.until_done(lambda: self._replicas.until_done(commit))

    # --- stopping

    async def _drain(self) -> None:
        """Let visits end within the grace time, or until the second `stop`."""
        if self._visits:
            log.info("draining", in_flight=len(self._visits), seconds=self._options.grace_seconds)
        deadline = time.monotonic() + self._options.grace_seconds
        hurry = asyncio.create_task(self._now.wait())
        try:
            while self._visits and not hurry.done() and time.monotonic() < deadline:
                left = deadline - time.monotonic()
                await asyncio.wait({*self._visits, hurry}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()

    async def _hand_back(self) -> None:
        """Cancel the remaining visits; each becomes a release."""
        visits = list(self._visits)
        for task in visits:
            task.cancel()
        await asyncio.gather(*visits, return_exceptions=True)

    async def _commit_rest(self, committing: asyncio.Task[None]) -> None:
        """Commit once more. If the server is away now, the leases expire and other workers get their requests."""
        if not self._finished:
            return
        waiting = asyncio.create_task(self._all_committed.wait())
        await asyncio.wait({waiting, committing}, timeout=LAST_COMMIT, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if committing.done():
            committing.result()
        if self._finished:
            log.warning("left_to_the_reaper", requests=len(self._finished), why=f"{self._obstacle} does not answer")
