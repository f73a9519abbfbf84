"""The frontier in this process: `memory://`. For tests, small crawls and machines without a server.

It keeps the promises of the Redis frontier except one: when the process ends, its state is gone. All methods
but `beat` belong to one event loop. `add(seed=True)` alone ever waits; every other call is one step that no
coroutine can interrupt.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from crawler.control.rules import trace_with
from crawler.errors import FrontierError
from crawler.frontier.memory.control import JobGate, MemoryControl
from crawler.frontier.memory.job import MemoryJob
from crawler.frontier.memory.ledger import Ledger
from crawler.frontier.memory.lines import POLL_SECONDS, Entry
from crawler.frontier.memory.outcomes import Outcomes
from crawler.frontier.message import identity
from crawler.interfaces import Pace
from crawler.model import Added, Claim, Dead, Failure, Job, Lease, OutboxEntry, Reaped, Request, Retry, Rule, Visit
from crawler.parsing.url import host_of
from crawler.status import DeadLetter, HostView, JobStats, Trace, WorkerInfo


class MemoryFrontier:
    """`Frontier` and `Outbox` in one process.

    `maxsize` bounds each job's pending requests (0: any number). Only seeders wait for room: links that
    pages lead to are always admitted, because the worker that adds them is the one that makes room, and
    would wait for itself.
    """

    def __init__(
        self,
        *,
        lease_seconds: float = 15.0,
        max_crashes: int = 20,
        outbox_limit: int = 10_000,
        exploding_share: float = 0.5,
        exploding_min: int = 20,
        maxsize: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._max_crashes = max_crashes
        self._outbox_limit = outbox_limit
        self._exploding = (exploding_share, exploding_min)
        self._maxsize = maxsize
        self._clock = clock
        self._jobs: dict[str, MemoryJob] = {}
        self.control = MemoryControl(self._obey)
        self._ledger = Ledger(self.control.pace)
        self._held: dict[str, list[Entry]] = {}  # by worker: its processing list
        self._workers: dict[str, tuple[float, Mapping[str, Any]]] = {}  # lease's end, info
        self._shared: dict[str, tuple[float, bytes]] = {}  # until when, value
        self._words = itertools.count(1)

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of. State stays."""

    async def durable(self) -> None:
        """Nothing here survives this process, whatever we wait for."""

    # --- jobs

    async def create_job(self, job: Job) -> Job:
        """Create it, or return the job of that name that exists."""
        if job.name not in self._jobs:
            epoch = job.epoch or secrets.token_hex(8)
            new = msgspec.structs.replace(job, epoch=epoch, created=time.time())
            self._jobs[job.name] = MemoryJob(new, Outcomes(*self._exploding))
        return self._jobs[job.name].job

    async def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return [state.job for state in self._jobs.values()]

    async def delete_job(self, name: str) -> bool:
        """Delete all its state; the host ledger stays. False: there was none."""
        state = self._jobs.pop(name, None)
        if state is None:
            return False
        for worker, held in self._held.items():
            self._held[worker] = [entry for entry in held if entry.job != name]
            self._free(entry for entry in held if entry.job == name)
        state.room.set()
        return True

    def _known(self, job: Job) -> MemoryJob | None:
        """Its state, unless it was deleted, or deleted and created anew."""
        state = self._jobs.get(job.name)
        return state if state is not None and state.job.epoch == job.epoch else None

    def _job_of(self, lease: Lease) -> MemoryJob | None:
        state = self._jobs.get(lease.job)
        return state if state is not None and state.job.epoch == lease.epoch else None

    def _state(self, job: Job) -> MemoryJob:
        """Its state, to change it. Raises `FrontierError`."""
        state = self._known(job)
        if state is None:
            raise FrontierError(f"job {job.name!r} was deleted; seed it again to go on")
        return state

    def _view(self, job: Job) -> MemoryJob:
        """Its state, to look at it; that of a new job when there is none."""
        return self._known(job) or MemoryJob(job)

    # --- (unknown) → pending

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """(unknown) → pending; a seed waits while the job is full. Raises `FrontierError`: job deleted."""
        state = self._state(job)
        entries = [state.prepare(request, f"{next(self._words)}") for request in requests]
        new = 0
        for entry in entries:
            if seed:
                await self._room(state)
                state.scope.add(entry.host)
            new += state.admit(entry, self._clock())
        return Added(new, len(entries) - new)

    def maybe_new(self, job: Job, requests: Sequence[Request]) -> Sequence[Request]:
        """All of them: asking is as cheap as remembering here."""
        return requests

    def maybe_new_urls(self, job: Job, urls: Sequence[str]) -> Sequence[str]:
        """All of them."""
        return urls

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """For each host, whether it was seeded in this job."""
        scope = self._view(job).scope
        return [host in scope for host in hosts]

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """Somebody will go on adding seeds for `seconds` (0: has ended)."""
        self._state(job).note_seeder(seeder, seconds, self._clock())

    async def _room(self, state: MemoryJob) -> None:
        while 0 < self._maxsize <= len(state.lines):
            state.room.clear()
            await state.room.wait()
            self._state(state.job)  # it may have been deleted meanwhile

    # --- pending → processing

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """pending → processing, at most `limit`, only from hosts that may be asked now."""
        now = self._clock()
        self._workers[worker] = (now + self._lease_seconds, self._workers.get(worker, (0.0, {}))[1])
        states = [state for job in jobs if (state := self._known(job)) is not None]
        leases: list[Lease] = []
        for state in self.control.in_order(states):
            if self.control.has_blocks:
                state.strike(self.control.blocked)
            if not self._is_full(state) and not self._is_paused(state):
                taken = self._take_some(state, limit - len(leases), pace, now)
                leases += [self._hand_out(worker, state, entry) for entry in taken]
        idle, wait = ("", None) if len(leases) == limit else self._why_idle(states, now)
        gone = tuple(job.name for job in jobs if self._known(job) is None)
        return Claim(tuple(leases), wait=wait, idle=idle, gone=gone)

    def _hand_out(self, worker: str, state: MemoryJob, entry: Entry) -> Lease:
        self._held.setdefault(worker, []).append(entry)
        state.processing += 1
        state.room.set()
        return Lease(
            job=entry.job,
            request=entry.request,
            message=entry.message,
            host=entry.host,
            attempt=entry.attempt,
            delivery=entry.delivery,
            claimed_at=self._clock(),
            epoch=state.job.epoch,
        )

    def _take_some(self, state: MemoryJob, limit: int, pace: Pace, now: float) -> list[Entry]:
        """At most `limit`, one by one where the job has a rate."""
        name, gate = state.job.name, JobGate(self.control, state, now)
        if self.control.number("rate", "job", name) is None:
            return state.lines.take(limit, self._ledger, pace, now, gate)
        taken: list[Entry] = []
        while len(taken) < limit and self.control.turn("job", name) <= now:
            if not (one := state.lines.take(1, self._ledger, pace, now, gate)):
                break
            taken += one
        return taken

    def _is_paused(self, state: MemoryJob) -> bool:
        return state.is_paused or self.control.is_paused(state.job.name, "job", state.job.name)

    def _is_full(self, state: MemoryJob) -> bool:
        return state.outbox >= self._outbox_limit

    def _why_idle(self, states: Sequence[MemoryJob], now: float) -> tuple[str, float | None]:
        """Why nothing more was handed out, and how long that will last."""
        waiting = [state for state in states if len(state.lines)]
        if not waiting:
            return "empty", None
        full = [state for state in waiting if self._is_full(state)]
        moving = [state for state in waiting if state not in full and not self._is_paused(state)]
        word = "outbox" if full else "cooling" if any(not state.lines.is_held for state in moving) else "paused"
        return word, min((self._wait(state, now) for state in moving), default=POLL_SECONDS)

    def _wait(self, state: MemoryJob, now: float) -> float:
        return max(state.lines.wait(self._ledger, now), self.control.turn("job", state.job.name) - now)

    async def place(self, host: str, group: str) -> float:
        """The host takes turns with the others of its group from now on; for how many seconds it has done so."""
        before = self._ledger[host].group
        seconds = self._ledger.place(host, group, self._clock())
        self._wake(before)
        return seconds

    async def take_host(self, worker: str, lease: Lease) -> bool:
        """The lease has its host to itself until it ends. False: another one has it, or this one has ended."""
        held = self._held.get(worker, [])
        entry = next((one for one in held if (one.job, one.message) == (lease.job, lease.message)), None)
        return entry is not None and self._ledger.take(entry.host, worker, entry)

    # --- processing → done | pending | dead

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """processing → done | pending | dead by each outcome. False: not held any more, nothing changed."""
        links = [self._links(*visit) for visit in visits]
        return [
            self._commit(worker, lease, visit, found, pace) for (lease, visit), found in zip(visits, links, strict=True)
        ]

    def _links(self, lease: Lease, visit: Visit) -> list[Entry]:
        """A page's links; a `dont_filter` one is the same when the page is delivered and visited again."""
        state = self._job_of(lease)
        if state is None:
            return []
        page, seen = identity(lease.message).hex(), Counter[str]()
        links = []
        for link in visit.links:
            seen[link.url] += link.dont_filter
            links.append(state.prepare(link, f"{page}:{seen[link.url]}"))
        return links

    def _commit(self, worker: str, lease: Lease, visit: Visit, links: Sequence[Entry], pace: Pace) -> bool:
        state = self._job_of(lease)
        if state is None:
            return False
        entry = self._take(worker, lease.job, lease.message)
        if entry is None:
            state.counters["fenced"] += 1
            return False
        now = self._clock()
        for link in links:
            if link.request.depth == 0:  # a seed was redirected there: it belongs to the crawl as the seed does
                state.scope.add(link.host)
            state.admit(link, now)
        sooner = self._ledger.unbook(entry.host) if visit.unasked else []
        finding = self._ledger.settle(entry.host, visit, pace, now, entry.attempt + 1)
        self._free([entry])
        for name in sooner:
            state.lines.look_at(name)
        state.end(entry, visit, finding, worker, now)
        return True

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """processing → dead for bytes that are no request. False: not held any more."""
        entry = self._take(worker, job.name, message) if self._known(job) else None
        if entry is None:
            return False
        self._free([entry])
        self._jobs[job.name].die(entry, failure, worker)
        return True

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """processing → pending after `delay` seconds, bytes unchanged. False: not held any more."""
        entry = self._take(worker, job.name, message) if self._known(job) else None
        if entry is None:
            return False
        self._free([entry])
        self._jobs[job.name].set_aside(entry, delay, self._clock())
        return True

    def _take(self, worker: str, job: str, message: bytes) -> Entry | None:
        """Out of the worker's processing list: the very bytes it was given, or nothing."""
        held = self._held.get(worker, [])
        for place, entry in enumerate(held):
            if entry.message == message and entry.job == job:
                self._jobs[job].processing -= 1
                return held.pop(place)
        return None

    def _free(self, ended: Iterable[Entry]) -> None:
        """Leases that have ended: one request less in flight to the host of each."""
        for entry in ended:
            for name in self._ledger.free(entry.host, entry):
                self._wake(name)

    def _wake(self, name: str) -> None:
        """The jobs that wait for a slot of this host or group."""
        for state in self._jobs.values():
            state.lines.freed(name, self._ledger)

    # --- workers that are gone

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the worker's lease. May be called from any thread: it is one assignment."""
        self._workers[worker] = (self._clock() + self._lease_seconds, info or self._workers.get(worker, (0.0, {}))[1])

    async def workers(self) -> list[WorkerInfo]:
        """The workers known, alive and expired ones."""
        now = self._clock()
        return [WorkerInfo(name, end - now, info) for name, (end, info) in list(self._workers.items())]

    async def reap(self, worker: str | None = None, *, blame: tuple[Lease, Retry | Dead] | None = None) -> list[Reaped]:
        """processing → pending for expired workers, or for `worker`, whose end is put down to `blame`."""
        if worker is not None:
            return [self._take_back(worker, partial(self._judge, blame))]
        now = self._clock()
        expired = [name for name, (end, _) in list(self._workers.items()) if end <= now]
        return [self._take_back(name, self._count_crash) for name in expired]

    def _take_back(self, worker: str, charge: Callable[[MemoryJob, Entry], Failure | None]) -> Reaped:
        """All it holds goes back to pending as `charge` does it, or to the dead with the failure it returns."""
        self._workers.pop(worker, None)
        held = self._held.pop(worker, [])
        dead = 0
        for entry in held:
            state = self._jobs[entry.job]
            state.processing -= 1
            state.counters["reaped"] += 1
            if failure := charge(state, entry):
                state.die(entry, failure, worker)
                dead += 1
        self._free(held)
        return Reaped(worker, len(held) - dead, dead)

    def _count_crash(self, state: MemoryJob, entry: Entry) -> Failure | None:
        """Its worker vanished and nobody knows why."""
        crashes = entry.crashes + 1
        if crashes >= self._max_crashes:
            return Failure("crash", f"the machine of its worker was gone after each of {crashes} deliveries")
        state.put_back(entry, 0.0, self._clock(), crashed=1)
        return None

    def _judge(self, blame: tuple[Lease, Retry | Dead] | None, state: MemoryJob, entry: Entry) -> Failure | None:
        """The request that is to blame has its outcome; the others of its worker are innocent."""
        now = self._clock()
        if blame is None or (entry.job, entry.message) != (blame[0].job, blame[0].message):
            state.put_back(entry, 0.0, now)
            return None
        state.outcomes.watch(entry, "crash")
        if isinstance(blame[1], Dead):
            return blame[1].failure
        state.put_back(entry, blame[1].delay, now, failed=1)
        return None

    # --- the dead, and figures

    async def dead_letters(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        """The dead letters, newest first, at most `limit`."""
        return self._view(job).letters(limit)

    async def each_dead(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        """The dead letters one after the other; with `ids` those alone."""
        for letter in self._view(job).chosen(ids):
            yield letter

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """dead → pending with a clean account; None: all of them. Returns how many."""
        return self._state(job).redrive(ids)

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """dead → dropped, but still known; None: all of them. Returns how many."""
        return self._state(job).drop(ids)

    async def stats(self, job: Job) -> JobStats:
        """The counters, all taken at one moment. O(hosts)."""
        stats = self._view(job).stats(self._ledger, self._clock())
        return msgspec.structs.replace(stats, paused=self.control.pauses(job.name) + stats.paused)

    async def hosts(self, job: Job, limit: int = 100) -> list[HostView]:
        """The next to be asked first. O(hosts)."""
        now, pending = self._clock(), self._view(job).lines.lengths()
        asked = {entry.host for entries in self._held.values() for entry in entries if entry.job == job.name}
        views = []
        for host in pending.keys() | asked:
            turns = [self._ledger.shown(name, now) for name in self._ledger.names(host)]
            turn = msgspec.structs.replace(turns[0], wait=max(turn.wait for turn in turns))
            views.append(HostView(host, pending.get(host, 0), turn))
        return sorted(views, key=lambda view: (view.turn.wait, view.host))[:limit]

    async def trace(self, job: Job, url: str) -> Trace:
        """All that is known of a canonical URL, at one moment. O(requests)."""
        held = [(worker, entry) for worker, entries in self._held.items() for entry in entries if entry.job == job.name]
        now, host = self._clock(), host_of(url)
        turns = tuple(self._ledger.shown(name, now) for name in self._ledger.names(host))
        return trace_with(self._view(job).trace(url, held, turns, now), await self.control.rules(), job.name)

    # --- pauses

    async def pause(self, job: Job, what: str, name: str, why: str) -> bool:
        """Hand out nothing more of a host or spider in this job, or of all of it. False: it was so before."""
        return self._state(job).outcomes.pause((what, name), why)

    async def resume(self, job: Job, what: str, name: str) -> bool:
        """Lift a pause; its counts begin anew. False: there was none."""
        state = self._state(job)
        state.lines.resume(self._ledger)
        return state.outcomes.resume((what, name))

    def _obey(self, rule: Rule) -> None:
        """A rule was set or lifted: whoever waits by the old one is looked at again."""
        if (rule.action, rule.what) == ("rate", "host"):
            self._ledger.reordered(rule.name)
        if (rule.action, rule.what) == ("concurrency", "host"):
            self._ledger.recapped(rule.name)
        if rule.what in ("host", "spider"):
            for state in self._jobs.values():
                state.lines.look_at(rule.name if rule.what == "host" else None)

    # --- what the fleet shares

    async def get_shared(self, key: str) -> bytes | None:
        """The value put last; None: nobody has put it, or it has expired."""
        until, value = self._shared.get(key, (0.0, b""))
        return value if until > self._clock() else None

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Share it for `seconds`."""
        self._shared[key] = (self._clock() + seconds, value)

    # --- outbox

    async def read(self, job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """The next entries behind `after[0]`, at most `limit`. Removes nothing."""
        return self._view(job).read(after, limit)

    async def acknowledge(self, job: Job, positions: Mapping[int, str]) -> None:
        """All up to this position are durable: drop them."""
        self._view(job).acknowledge(positions)

    async def hold(self, job: Job, exporter: str, seconds: float) -> str:
        """Become or stay the job's only exporter for `seconds` (0: give it up). Returns who holds it now."""
        return self._view(job).hold(exporter, seconds, self._clock())

    async def holder(self, job: Job) -> str:
        """Who exports the job now; empty: nobody."""
        return self._view(job).holder(self._clock())
