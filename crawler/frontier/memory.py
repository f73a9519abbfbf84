"""The frontier in this process: `memory://`. For tests, small crawls and machines without a server.

It keeps the promises of the Redis frontier except one: when the process ends, its state is gone. All methods
but `beat` belong to one event loop. `add(seed=True)` alone ever waits; everything else is one step that
no other coroutine can interrupt.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from crawler.errors import FrontierError
from crawler.frontier.lines import POLL_SECONDS, Entry, Ledger, Lines
from crawler.frontier.message import decode, encode
from crawler.interfaces import Pace
from crawler.model import (
    Added,
    Claim,
    Dead,
    DeadLetter,
    Done,
    Failure,
    Job,
    JobStats,
    Lease,
    OutboxEntry,
    Reaped,
    Release,
    Request,
    Retry,
    Skip,
    Visit,
    WorkerInfo,
)
from crawler.parsing.url import dedup_key, fingerprint, host_of

_SHARD = 0  # there is only one
_CRASH_DELAY = 1.0  # seconds before a page that killed its worker is tried again; doubles each time


@dataclass(slots=True, eq=False)
class _Crawl:
    """All state of one job."""

    job: Job
    lines: Lines
    seen: set[int] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)  # seeded ones
    seeders: dict[str, float] = field(default_factory=dict)  # until when each is at work
    dead: dict[str, tuple[Entry, DeadLetter]] = field(default_factory=dict)  # oldest first
    outbox: deque[OutboxEntry] = field(default_factory=deque)
    position: int = 0
    exporter: str = ""
    held_until: float = 0.0
    begun: bool = False  # a request was admitted, or a seeder has ended without any
    known: int = 0
    processing: int = 0
    done: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    room: asyncio.Event = field(default_factory=asyncio.Event)  # set when a request has left `pending`


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
        attempts: int = 3,
        max_crashes: int = 20,
        outbox_limit: int = 10_000,
        maxsize: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._attempts = attempts
        self._max_crashes = max_crashes
        self._outbox_limit = outbox_limit
        self._maxsize = maxsize
        self._clock = clock
        self._crawls: dict[str, _Crawl] = {}
        self._ledger = Ledger()
        self._held: dict[str, list[Entry]] = {}  # by worker: its processing list
        self._workers: dict[str, tuple[float, Mapping[str, Any]]] = {}  # lease's end, info
        self._shared: dict[str, tuple[float, bytes]] = {}
        self._locks: dict[str, float] = {}
        self._serial = itertools.count(1)

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of. State stays."""

    # --- jobs

    async def create_job(self, job: Job) -> Job:
        """Create it, or return the job of that name that exists."""
        if job.name not in self._crawls:
            made = msgspec.structs.replace(job, epoch=job.epoch or secrets.token_hex(8), created=time.time())
            self._crawls[job.name] = _Crawl(made, Lines(lifo=job.order == "lifo"))
        return self._crawls[job.name].job

    async def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return [crawl.job for crawl in self._crawls.values()]

    async def delete_job(self, name: str) -> bool:
        """Delete all its state; the host ledger stays. False: there was none."""
        crawl = self._crawls.pop(name, None)
        if crawl is None:
            return False
        for worker, held in self._held.items():
            self._held[worker] = [entry for entry in held if entry.job != name]
            self._free(entry.host for entry in held if entry.job == name)
        crawl.room.set()
        return True

    # --- (unknown) → pending

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """(unknown) → pending; a seed waits while the job is full. Raises `FrontierError`: job deleted."""
        crawl = self._crawl(job)
        new = 0
        for request in _travelled(requests):
            if seed:
                await self._room(crawl)
                self._crawl(job)  # it may have been deleted meanwhile
                crawl.hosts.add(host_of(request.url))
            new += self._admit(crawl, request)
        return Added(new, len(requests) - new)

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """For each host, whether it was seeded in this job."""
        crawl = self._view(job)
        return [host in crawl.hosts for host in hosts]

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """Somebody will go on adding seeds for `seconds` (0: has ended)."""
        crawl = self._crawl(job)
        crawl.begun = crawl.begun or seconds <= 0
        crawl.seeders[seeder] = self._clock() + seconds

    async def _room(self, crawl: _Crawl) -> None:
        while 0 < self._maxsize <= len(crawl.lines) and self._crawls.get(crawl.job.name) is crawl:
            crawl.room.clear()
            await crawl.room.wait()

    def _admit(self, crawl: _Crawl, request: Request) -> bool:
        if not request.dont_filter:
            mark = _mark(request)
            if mark in crawl.seen:
                return False
            crawl.seen.add(mark)
        crawl.known += 1
        crawl.begun = True
        self._put(crawl, Entry(crawl.job.name, request, host_of(request.url)), request.delay)
        return True

    def _put(self, crawl: _Crawl, entry: Entry, delay: float = 0.0, *, front: bool = False) -> None:
        if delay > 0:
            crawl.lines.push_delayed(entry, self._clock() + delay)
        else:
            crawl.lines.push(entry, front=front)

    # --- pending → processing

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """pending → processing, at most `limit`, only from hosts that may be asked now."""
        now = self._clock()
        self._workers[worker] = (now + self._lease_seconds, self._workers.get(worker, (0.0, {}))[1])
        known = {job.name: crawl for job in jobs if (crawl := self._known(job))}
        leases: list[Lease] = []
        for crawl in known.values():
            if len(crawl.outbox) < self._outbox_limit:
                taken = crawl.lines.take(limit - len(leases), self._ledger, pace, now)
                leases += [self._hand_out(worker, crawl, entry) for entry in taken]
        gone = tuple(job.name for job in jobs if job.name not in known)
        if len(leases) == limit:
            return Claim(tuple(leases), gone=gone)
        idle, wait = self._why_idle(known.values(), now)
        return Claim(tuple(leases), wait=wait, idle=idle, gone=gone)

    def _hand_out(self, worker: str, crawl: _Crawl, entry: Entry) -> Lease:
        delivery = entry.delivery
        account = {"delivery": delivery, "attempt": entry.attempt, "crashes": entry.crashes}
        entry.message = encode(entry.request, **account)
        entry.delivery += 1
        self._held.setdefault(worker, []).append(entry)
        crawl.processing += 1
        crawl.room.set()
        now = self._clock()
        return Lease(entry.job, entry.request, entry.message, entry.host, entry.attempt, delivery, now)

    def _why_idle(self, crawls: Iterable[_Crawl], now: float) -> tuple[str, float | None]:
        """Why nothing more was handed out, and how long that will last."""
        waits = [wait for crawl in crawls if (wait := self._wait(crawl, now)) is not None]
        if not waits:
            return "empty", None
        full = any(len(crawl.outbox) >= self._outbox_limit and len(crawl.lines) for crawl in crawls)
        return "outbox" if full else "cooling", min(waits)

    def _wait(self, crawl: _Crawl, now: float) -> float | None:
        wait = crawl.lines.wait(self._ledger, now)
        return POLL_SECONDS if wait is not None and len(crawl.outbox) >= self._outbox_limit else wait

    # --- processing → done | pending | dead

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """processing → done | pending | dead by each outcome. False: not held any more, nothing changed."""
        links = [_travelled(visit.links) for _, visit in visits]
        return [
            self._commit(worker, lease, visit, found, pace) for (lease, visit), found in zip(visits, links, strict=True)
        ]

    def _commit(self, worker: str, lease: Lease, visit: Visit, links: Sequence[Request], pace: Pace) -> bool:
        crawl = self._crawls.get(lease.job)
        if crawl is None:
            return False
        entry = self._take_from(worker, lease.job, lease.message)
        if entry is None:
            crawl.counters["fenced"] += 1
            return False
        for link in links:
            if link.depth == 0:  # a seed was redirected there: it belongs to the crawl as the seed does
                crawl.hosts.add(host_of(link.url))
            self._admit(crawl, link)
        self._ledger.settle(entry.host, visit, pace, self._clock())
        self._free([entry.host])
        self._record(crawl, visit)
        self._decide(crawl, entry, visit, worker)
        return True

    def _take_from(self, worker: str, job: str, message: bytes) -> Entry | None:
        held = self._held.get(worker, [])
        for place, entry in enumerate(held):
            if entry.message == message and entry.job == job:
                self._crawls[job].processing -= 1
                return held.pop(place)
        return None

    def _record(self, crawl: _Crawl, visit: Visit) -> None:
        if visit.items and isinstance(visit.outcome, Done):
            crawl.position += 1
            crawl.outbox.append(OutboxEntry(_SHARD, f"{crawl.position:020d}", visit.items))
            crawl.counters["items"] += len(visit.items)
        if visit.status is not None:
            crawl.counters[f"status/{visit.status}"] += 1
        if visit.size:
            crawl.counters["bytes"] += visit.size

    def _decide(self, crawl: _Crawl, entry: Entry, visit: Visit, worker: str) -> None:
        match visit.outcome:
            case Done():
                crawl.done += 1
                crawl.counters["pages"] += 1
            case Skip(reason):
                crawl.done += 1
                crawl.counters[f"skip/{reason}"] += 1
            case Retry(_, delay):
                entry.attempt += 1
                crawl.counters["retried"] += 1
                self._put(crawl, entry, delay, front=True)
            case Release(_, delay):
                crawl.counters["released"] += 1
                self._put(crawl, entry, delay, front=True)
            case Dead(failure):
                self._die(crawl, entry, failure, worker)

    def _free(self, hosts: Iterable[str]) -> None:
        """One request less in flight to each of these."""
        for host in hosts:
            self._ledger[host].busy -= 1
            for crawl in self._crawls.values():
                crawl.lines.freed(host, self._ledger)

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """processing → dead for bytes that are no request. False: not held any more."""
        entry = self._take_from(worker, job.name, message) if self._known(job) else None
        if entry is None:
            return False
        self._free([entry.host])
        self._die(self._crawls[job.name], entry, failure, worker)
        return True

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """processing → pending after `delay` seconds, bytes unchanged. False: not held any more."""
        entry = self._take_from(worker, job.name, message) if self._known(job) else None
        if entry is None:
            return False
        self._free([entry.host])
        self._crawls[job.name].counters["set_aside"] += 1
        self._put(self._crawls[job.name], entry, delay, front=True)
        return True

    # --- workers that are gone

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the worker's lease. May be called from any thread: it is one assignment."""
        self._workers[worker] = (self._clock() + self._lease_seconds, info)

    async def workers(self) -> list[WorkerInfo]:
        """The workers known, alive and expired ones."""
        now = self._clock()
        return [WorkerInfo(name, end - now, info) for name, (end, info) in list(self._workers.items())]

    async def reap(
        self, worker: str | None = None, *, blame: Lease | None = None, failure: Failure | None = None
    ) -> list[Reaped]:
        """processing → pending for expired workers, or for `worker`, whose end is put down to `blame`."""
        if worker is not None:
            known = worker in self._workers or worker in self._held
            return [self._take_back(worker, self._blame(blame, failure))] if known else []
        now = self._clock()
        expired = [name for name, (end, _) in list(self._workers.items()) if end <= now]
        return [self._take_back(name, self._count_crash) for name in expired]

    def _take_back(self, worker: str, judge: Callable[[Entry], Failure | float]) -> Reaped:
        """All it holds goes back to pending after the seconds that `judge` says, or is dead of a failure."""
        self._workers.pop(worker, None)
        held = self._held.pop(worker, [])
        dead = 0
        for entry in held:
            crawl = self._crawls[entry.job]
            crawl.processing -= 1
            crawl.counters["reaped"] += 1
            verdict = judge(entry)
            if isinstance(verdict, Failure):
                self._die(crawl, entry, verdict, worker)
                dead += 1
            else:
                self._put(crawl, entry, verdict, front=True)
        self._free(entry.host for entry in held)
        return Reaped(worker, len(held) - dead, dead)

    def _count_crash(self, entry: Entry) -> Failure | float:
        """Its worker vanished and nobody knows why."""
        entry.crashes += 1
        if entry.crashes < self._max_crashes:
            return 0.0
        return Failure("crash", f"its worker was gone after each of {entry.crashes} deliveries")

    def _blame(self, lease: Lease | None, failure: Failure | None) -> Callable[[Entry], Failure | float]:
        """The request of `lease` has an attempt more; the others of its worker are innocent."""
        failure = failure or Failure("crash", "its worker process died while parsing it")

        def judge(entry: Entry) -> Failure | float:
            if lease is None or (entry.job, entry.message) != (lease.job, lease.message):
                return 0.0
            if entry.attempt + 1 >= self._attempts:
                return failure
            delay: float = _CRASH_DELAY * 2**entry.attempt
            entry.attempt += 1
            self._crawls[entry.job].counters["retried"] += 1
            return delay

        return judge

    # --- the dead

    def _die(self, crawl: _Crawl, entry: Entry, failure: Failure, worker: str) -> None:
        letter = DeadLetter(
            id=str(next(self._serial)),
            url=entry.request.url,
            spider=entry.request.spider,
            callback=entry.request.callback,
            attempts=entry.attempt + 1,
            worker=worker,
            died=time.time(),
            failure=failure,
            message=entry.message.decode("latin-1"),
        )
        crawl.dead[letter.id] = (entry, letter)
        crawl.counters[f"dead/{failure.kind}"] += 1

    async def dead_letters(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        """The dead letters, newest first, at most `limit`."""
        newest = reversed(self._view(job).dead.values())
        return [letter for _, letter in itertools.islice(newest, limit)]

    async def redrive(self, job: Job, ids: Sequence[str] | None = None) -> int:
        """dead → pending with a clean account; None: all of them. Returns how many."""
        crawl = self._crawl(job)
        wanted = list(crawl.dead) if ids is None else dict.fromkeys(ids)
        chosen = [crawl.dead.pop(key)[0] for key in wanted if key in crawl.dead]
        for entry in chosen:
            entry.attempt = entry.crashes = 0
            crawl.lines.push(entry, front=True)
        crawl.counters["redriven"] += len(chosen)
        return len(chosen)

    # --- figures

    async def stats(self, job: Job) -> JobStats:
        """The counters, all taken at one moment. O(hosts)."""
        crawl = self._view(job)
        now = self._clock()
        ready, cooling, next_due = crawl.lines.outlook(self._ledger, now)
        seeding = sum(until > now for until in crawl.seeders.values())
        return JobStats(
            job=job.name,
            known=crawl.known,
            pending=len(crawl.lines),
            processing=crawl.processing,
            done=crawl.done,
            dead=len(crawl.dead),
            outbox=len(crawl.outbox),
            seeding=seeding,
            cooling=cooling,
            ready=ready,
            next_due=next_due,
            delayed=crawl.lines.delayed,
            finished=crawl.begun and not (len(crawl.lines) or crawl.processing or seeding),
            counters=dict(crawl.counters),
        )

    # --- what the fleet shares

    async def get_shared(self, key: str) -> bytes | None:
        """The value put last; None: nobody has put it, or it has expired."""
        until, value = self._shared.get(key, (0.0, b""))
        return value if until > self._clock() else None

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Share it for `seconds`; releases the lock of that key."""
        self._shared[key] = (self._clock() + seconds, value)
        self._locks.pop(key, None)

    async def lock_shared(self, key: str, seconds: float) -> bool:
        """True: we are the one to find it out, for `seconds` at most."""
        now = self._clock()
        if self._locks.get(key, 0.0) > now:
            return False
        self._locks[key] = now + seconds
        return True

    # --- outbox

    async def read(self, job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """The next entries behind `after[0]`, at most `limit`. Removes nothing."""
        last = after.get(_SHARD, "")
        behind = (entry for entry in self._view(job).outbox if entry.position > last)
        return list(itertools.islice(behind, limit))

    async def acknowledge(self, job: Job, positions: Mapping[int, str]) -> None:
        """All up to this position are durable: drop them."""
        outbox = self._view(job).outbox
        while outbox and outbox[0].position <= positions.get(_SHARD, ""):
            outbox.popleft()

    async def hold(self, job: Job, exporter: str, seconds: float) -> str:
        """Become or stay the job's only exporter for `seconds` (0: give it up). Returns who holds it now."""
        crawl = self._crawl(job)
        now = self._clock()
        if crawl.held_until <= now or crawl.exporter == exporter:
            crawl.exporter = exporter if seconds > 0 else ""
            crawl.held_until = now + seconds
        return crawl.exporter

    async def holder(self, job: Job) -> str:
        """Who exports the job now; empty: nobody."""
        crawl = self._crawl(job)
        return crawl.exporter if crawl.held_until > self._clock() else ""

    # --- which job is meant

    def _known(self, job: Job) -> _Crawl | None:
        """Its state, unless it was deleted, or deleted and created anew."""
        crawl = self._crawls.get(job.name)
        return crawl if crawl is not None and crawl.job.epoch == job.epoch else None

    def _crawl(self, job: Job) -> _Crawl:
        crawl = self._known(job)
        if crawl is None:
            raise FrontierError(f"job {job.name!r} was deleted; seed it again to go on")
        return crawl

    def _view(self, job: Job) -> _Crawl:
        """Its state to look at; that of a new job when there is none."""
        return self._known(job) or _Crawl(job, Lines())


def _mark(request: Request) -> int:
    """What a known request is recognised by."""
    key = dedup_key(request.url)
    if request.method == "GET" and not request.body:
        return fingerprint(key)
    return fingerprint(f"{request.method} {key} {request.body.hex()}")


def _travelled(requests: Sequence[Request]) -> list[Request]:
    """Through the wire format and back: what could not travel fails here too, before anything has changed."""
    travelled = (decode(encode(request)).request for request in requests)
    return [
        msgspec.structs.replace(copy, delay=request.delay) if request.delay else copy
        for copy, request in zip(travelled, requests, strict=True)
    ]
