"""What people look at: the state of a job, its hosts, its workers, its dead letters, one URL. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from crawler.model import Failure, Request

SKIPS_KEPT = 10_000
"""Requests of a job that were skipped, and are remembered with the reason: the last ones, or a few more."""

TRACED = 100_000
"""Requests of a host's line, and delayed ones, among which a trace looks for one."""


class DeadLetter(Struct, frozen=True):
    """A request that was given up, with all that is known about why."""

    id: str
    url: str
    spider: str
    callback: str
    attempts: int
    worker: str
    died: float  # server's clock, Unix seconds
    failure: Failure
    message: str  # as it lay in the queue; bytes that are not UTF-8 as `\xff`
    host: str = ""
    deliveries: int = 0  # times it was handed out


class Skipped(Struct, frozen=True):
    """A request that was skipped lately: the frontier remembers the last ten thousand.

    One of reason `other_callback` was not admitted, because its URL was known for another callback than its `detail`.
    """

    url: str
    reason: str
    detail: str
    when: float  # server's clock, Unix seconds


class Pause(Struct, frozen=True):
    """What a job leaves alone until a person resumes it."""

    what: str  # `host`, `spider` or `job`
    name: str
    why: str
    since: float  # server's clock, Unix seconds


class Sighting(Struct, frozen=True):
    """Where one request of a URL is."""

    state: Literal["pending", "delayed", "processing", "dead"]
    request: Request
    attempt: int = 0  # failed tries so far
    delivery: int = 0  # times it was handed out before
    crashes: int = 0  # of these ended with the whole machine of the worker gone
    ahead: int = 0  # pending: requests before it in its host's line
    due: float = 0.0  # delayed: seconds until it may be handed out
    worker: str = ""  # processing: who holds it
    letter: DeadLetter | None = None  # dead
    later: int = 0  # version of its message, when that is not known here: of `request` only url and priority were read


class HostTurn(Struct, frozen=True):
    """What the host ledger says of a host, or of the group of hosts that share an address."""

    wait: float = 0.0  # seconds until it may be asked again
    inflight: int = 0  # requests to it on their way, of all jobs
    delay: float = 0.0  # seconds between two requests that the host itself asked for
    group: str = ""  # with whom it takes turns: an address, or `*.example.com`
    rest: float = 0.0  # seconds for which it is left alone, because it said so or failed; part of `wait`
    backoff: int = 0  # doublings of the back-off that are left; each good answer takes one away
    failures: int = 0  # in a row by which it could not be reached; five open the breaker
    latency: float = 0.0  # seconds it takes for an answer, when the pace follows that
    asking: str = ""  # the worker that asks it for robots.txt just now, while all its pages wait


class HostView(Struct, frozen=True):
    """A host in which a job has something to do."""

    host: str
    pending: int  # requests in its line
    turn: HostTurn = HostTurn()


class Trace(Struct, frozen=True):
    """All that a job's shared state tells of one URL. Known and no sighting: fetched or skipped."""

    known: bool
    host: str
    turn: HostTurn = HostTurn()
    group_turn: HostTurn = HostTurn()  # of the group its host is in
    sightings: tuple[Sighting, ...] = ()  # several only for `dont_filter` requests and methods other than GET
    unseen: int = 0  # requests that were not looked at, because there are too many
    skipped: Skipped | None = None  # when that was not long ago
    other_callbacks: tuple[str, ...] = ()  # that later requests for it named; the same
    redirected_from: str = ""  # the same
    pauses: tuple[Pause, ...] = ()  # that concern it: of its host, its spider, the job
    seeded: bool = False  # its host was


class JobStats(Struct, frozen=True):
    """One job's counters. pending + processing + done + dead + dropped = known, exactly."""

    job: str
    known: int = 0  # distinct requests ever admitted
    pending: int = 0
    processing: int = 0
    done: int = 0
    dead: int = 0
    dropped: int = 0  # dead letters a person threw away
    outbox: int = 0  # pages whose items wait for the exporter
    exporter: str = ""  # who writes them to a sink; empty: nobody
    seeding: int = 0  # seeders at work
    cooling: int = 0  # hosts with pending requests that must wait
    ready: int = 0  # hosts that may be asked now
    asking: int = 0  # hosts that are asked for their robots.txt just now, by this job or another
    next_due: float | None = None  # seconds until the next cooling host or delayed request is due
    delayed: int = 0  # requests with a not-before time
    finished: bool = False  # proven: everything ever admitted has ended, and nobody is seeding
    paused: tuple[Pause, ...] = ()  # some, when there are hundreds
    held: int = 0  # hosts with pending requests that are left alone because of that
    other_callbacks: Mapping[
        str, str
    ] = {}  # that requests for known URLs named → the first such URL (`links/…` counts)
    later: Mapping[int, int] = {}  # version → messages of it that were met, and wait for a worker that knows it
    counters: Mapping[
        str, int
    ] = {}  # `status/200`, `error/dns`, `skip/…`, `dropped/…`, `links/…`, `retried`, `fenced` …

    @property
    def is_all_paused(self) -> bool:
        """Nothing will move before a person resumes it: all that is left is paused."""
        if not self.paused or not self.pending or self.processing or self.seeding:
            return False
        return any(pause.what == "job" for pause in self.paused) or not (self.ready or self.cooling or self.delayed)


class WorkerInfo(Struct, frozen=True):
    """What a worker last said about itself with its heartbeat."""

    worker: str
    lease_left: float  # seconds; negative: expired, about to be reaped
    info: Mapping[str, Any] = {}
