"""The values that people see: the state of a job, its hosts, its workers, its dead letters, one URL."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from crawler.model import Failure, Limits, Request

SKIPS_KEPT = 10_000
"""Last skips of a job that the frontier remembers with their reasons; it may keep a few more."""

OWN = "own"
"""The prefix of the job's counters with what the project's code counts itself (`crawler.stats.inc_value`)."""

TRACED = 100_000
"""Requests of a host's line, and delayed requests, that a trace searches."""


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
    message: str  # as it was in the queue; bytes that are not UTF-8 appear as `\xff`
    host: str = ""
    deliveries: int = 0  # how often it was handed out


class Skipped(Struct, frozen=True):
    """A request that was skipped lately: the frontier remembers the last ten thousand.

    With reason `other_callback`, the request was not admitted, because its URL was known with a callback other than
    `detail`.
    """

    url: str
    reason: str
    detail: str
    when: float  # server's clock, Unix seconds


class PageRead(Struct, frozen=True):
    """A page that was fetched and read lately."""

    when: float  # server's clock, Unix seconds
    worker: str
    status: int
    size: int  # bytes of the decoded body
    items: int
    links: int  # passed on to the frontier: those that were certainly known are left out
    exported: bool = True  # no item of it waits in the outbox


class Failing(Struct, frozen=True):
    """A request that waits for another try, and its last error."""

    url: str
    error: str
    when: float  # server's clock, Unix seconds


class FieldCoverage(Struct, frozen=True):
    """In how many items one field is filled."""

    filled: int
    lacking: tuple[str, ...] = ()  # the first pages with an item that lacks it, of each shard three at most

    def plus(self, other: FieldCoverage) -> FieldCoverage:
        """Return the sum of two shards."""
        return FieldCoverage(self.filled + other.filled, self.lacking + other.lacking)


class Coverage(Struct, frozen=True):
    """How complete the items of one callback and class are: items whose fields have values, by field."""

    callback: str  # with its spider: `shop.parse_item`
    kind: str  # the name of the items' class, such as `Product` or `dict`
    items: int
    pages: int  # that gave them
    fields: Mapping[str, FieldCoverage]  # of field names, at most a hundred in each shard
    others: int = 0  # filled fields that are not among them

    def plus(self, other: Coverage) -> Coverage:
        """Return the sum of two shards."""
        none = FieldCoverage(0)
        names = dict.fromkeys([*self.fields, *other.fields])
        fields = {name: self.fields.get(name, none).plus(other.fields.get(name, none)) for name in names}
        sums = (self.items + other.items, self.pages + other.pages)
        return Coverage(self.callback, self.kind, *sums, fields, self.others + other.others)


class Pause(Struct, frozen=True):
    """A pause: the job hands out no request of this host, spider, callback or job until a person resumes it."""

    what: str  # `host`, `spider`, `callback` or `job`
    name: str
    why: str
    since: float  # server's clock, Unix seconds
    job: str = ""  # the only job it applies to; empty: all jobs
    by: str = ""  # who ordered it; empty: the crawl itself, because pages failed alike


class Sighting(Struct, frozen=True):
    """Where one request for a URL is, and in which state."""

    state: Literal["pending", "delayed", "processing", "dead"]
    request: Request
    attempt: int = 0  # failed tries so far
    delivery: int = 0  # how often it was handed out before
    crashes: int = 0  # deliveries that ended because the worker and its supervisor died
    ahead: int = 0  # pending: requests before it in its host's line
    due: float = 0.0  # delayed: seconds until it may be handed out
    worker: str = ""  # processing: the worker that holds it
    letter: DeadLetter | None = None  # dead: its dead letter
    later: int = 0  # version of its message if unknown here; `request` then has only url and priority


def clock(now: float, seconds: float) -> str:
    """The local time in so many seconds from `now` (Unix seconds): `15:12:03`, `15:12` from a minute on, or with its
    date if that is another day's."""
    then = time.localtime(now + seconds)
    if time.localtime(now)[:3] != then[:3]:
        return time.strftime("%Y-%m-%d %H:%M", then)
    return time.strftime("%H:%M:%S" if seconds < 60 else "%H:%M", then)


_UNREACHABLE = {
    "dns": "its name has no address",
    "connect": "it accepts no connection",
    "timeout": "it does not answer in time",
    "reset": "it breaks connections off",
}


def why_resting(cause: str, times: int, *, asked: bool) -> str:
    """Why a host rests, in words: `answered 503 (3rd time)`."""
    if cause.startswith("http_"):
        said = f"answered {cause.removeprefix('http_')}" + (" and said when to come back" if asked else "")
    else:
        said = f"cannot be reached: {_UNREACHABLE.get(cause, cause or 'why is not known')}"
    return f"{said} ({ordinal(times)} time)" if times else said


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th` …"""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


class HostTurn(Struct, frozen=True):
    """The host ledger's entry of a host, or of a group of hosts that share an address."""

    wait: float = 0.0  # seconds until it may be asked again
    inflight: int = 0  # requests to it in flight, of all jobs
    delay: float = 0.0  # seconds between two requests that the host itself asked for
    group: str = ""  # the group whose turns it shares: an address, or `*.example.com`
    rest: float = 0.0  # seconds for which it still rests, because it asked for that or failed; part of `wait`
    backoff: int = 0  # doublings of its back-off; each good answer takes one away
    failures: int = 0  # attempts in a row that did not reach it; five open the breaker
    cause: str = ""  # why it rests or rested last: `http_503`, `dns`, `timeout` …; empty once it is well again
    rests: int = 0  # how often in a row it has been put to rest
    asked_for_rest: bool = False  # it said itself for how long (Retry-After)
    latency: float = 0.0  # seconds that its answers take, if the pace follows that
    asking: str = ""  # the worker that asks it for robots.txt now, while all its pages wait


class HostView(Struct, frozen=True):
    """A host with requests of a job pending or in flight."""

    host: str
    pending: int  # requests in its line
    turn: HostTurn = HostTurn()
    held: bool = False  # left alone, because it, its job or the spider of its next page is paused


class Kept(Struct, frozen=True):
    """A page that is kept to be fetched again, because its items lack fields that its callback gave before."""

    callback: str  # SPIDER.METHOD
    fields: Mapping[str, str]  # that have drifted → in how many items they are filled, in words


class Trace(Struct, frozen=True):
    """All that a job's shared state tells of one URL. A known URL without a sighting was fetched or skipped."""

    known: bool
    host: str
    turn: HostTurn = HostTurn()
    group_turn: HostTurn = HostTurn()  # of the group its host is in
    sightings: tuple[Sighting, ...] = ()  # several only for `dont_filter` requests and methods other than GET
    unseen: int = 0  # requests that were not searched, because there are too many
    skipped: Skipped | None = None  # its skip, if among the last ones
    other_callbacks: tuple[str, ...] = ()  # callbacks that later requests for it named, as far back as the skips go
    redirected_from: str = ""  # the URL that redirected to it, as far back as the skips go
    read: PageRead | None = None  # how it was read, if that was lately
    failing: Failing | None = None  # its last error, if it waits for another try
    kept: Kept | None = None  # why it is kept to be fetched again
    pauses: tuple[Pause, ...] = ()  # of its host, its spider, its callback, or the job
    seeded: bool = False  # whether its host was seeded


class Backlog(Struct, frozen=True):
    """What a source still has, at one moment."""

    source: str  # its URL for people
    messages: int  # ready to be delivered; without those that somebody has taken and not settled
    consumers: int | None = None  # processes that take them; None: the source does not tell


class Lag(Struct, frozen=True):
    """How far an output is behind."""

    output: str  # the location that its target names
    pages: int  # whose items wait for it in the outbox


class JobStats(Struct, frozen=True):
    """One job's counters. pending + processing + done + dead + dropped = known, exactly."""

    job: str
    spider: str = ""  # that the job was created with
    known: int = 0  # distinct requests ever admitted
    pending: int = 0
    processing: int = 0
    done: int = 0
    dead: int = 0
    dropped: int = 0  # dead letters that a person dropped
    outbox: int = 0  # pages whose items wait for the exporter
    exporter: str = ""  # the process that writes them to a sink; empty if none
    outputs: tuple[Lag, ...] = ()  # each output that an exporter has written to
    dead_items: int = 0  # items that an output could not store
    seeding: int = 0  # seeders at work
    source: Backlog | None = None  # of the queue that one of them takes its seeds from; `status` alone asks for it
    cooling: int = 0  # hosts with pending requests that must wait
    ready: int = 0  # hosts that may be asked now
    asking: int = 0  # hosts that a worker asks for robots.txt now, for this job or another
    next_due: float | None = None  # seconds until the next cooling host or delayed request is due
    failing: int = 0  # requests that wait for another try; some more if there are thousands
    delayed: int = 0  # requests with a not-before time
    at: float = 0.0  # when this was read: this machine's clock, Unix seconds
    resting: tuple[HostView, ...] = ()  # hosts that rest, the longest first; only some of them if there are many
    is_pacing: bool = False  # whether some host merely waits for its turn at its pace
    # proven: every admitted request has ended, and nobody is seeding; or it is closed, and nothing is in flight
    finished: bool = False
    paused: tuple[Pause, ...] = ()  # only some of them if there are hundreds
    blocked: str = ""  # why a person has blocked the whole job; empty: nobody has
    held: int = 0  # hosts with pending requests that claims leave alone because of a pause
    other_callbacks: Mapping[
        str, str
    ] = {}  # other callback that a request for a known URL named → the first such URL (`links/…` counts)
    later: Mapping[int, int] = {}  # version → messages of it that wait for a worker that knows it
    closed: str = ""  # why it ends, or has ended, before all was fetched; empty: it was not closed
    limits: Limits = Limits()  # at which it is closed
    counters: Mapping[
        str, int
    ] = {}  # `status/200`, `error/dns`, `skip/…`, `dropped/…`, `links/…`, `own/…`, `retried`, `fenced` …

    @property
    def is_flowing(self) -> bool:
        """Whether pages are fetched now, or as soon as a host's pace permits."""
        return bool(self.processing or self.ready or self.is_pacing)

    @property
    def is_retrying(self) -> bool:
        """Whether nothing is under way, and all that is pending waits for another try or for hosts that rest."""
        if self.processing or self.seeding or not self.pending:
            return False
        return self.failing >= self.pending or bool(self.resting and not self.is_flowing)

    @property
    def is_all_paused(self) -> bool:
        """Whether only paused requests are left, so that nothing happens until a person resumes them."""
        return self.is_pending_paused and not self.seeding

    @property
    def is_pending_paused(self) -> bool:
        """Whether all pending requests are paused and none is in flight; seeders may bring others."""
        if not self.paused or not self.pending or self.processing:
            return False
        return any(pause.what == "job" for pause in self.paused) or not (self.ready or self.cooling or self.delayed)


class WorkerInfo(Struct, frozen=True):
    """A worker and the info of its last heartbeat."""

    worker: str
    lease_left: float  # seconds; negative if expired, and about to be reaped
    info: Mapping[str, Any] = {}
