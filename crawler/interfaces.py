"""The seams. Reading this file is reading the architecture: everything else implements or uses one of these.

Backend    all shared state of the crawls, one attribute for each kind of user:

    queue     workers claim requests and end them      jobs     crawls are created, listed and deleted
    adding    seeders add requests                     reading  counters and workers
    links     visits ask which links to keep           hosts    how hosts stand
    ledger    hosts join a group                       traces   what became of a URL
    asking    gates share robots.txt                   letters  the dead letters
    leases    workers stay alive, reapers take back    pauses   what people resume
    outbox    exporters move items to a sink           control  people change a running crawl
                                                       calls    workers hear of it

Fetcher    a request in, a response out
Sink       where items end

A user takes the one seam it needs, never the backend. The methods of all seams that the backend holds may raise
`FrontierUnavailable` or `FrontierFull`; the same call may then be repeated until it succeeds, and takes effect once.
`FrontierReplaced` is final: the server has forgotten our jobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from crawler.model import (
    Added,
    Broadcast,
    Claim,
    Dead,
    Failure,
    Job,
    Lease,
    OutboxEntry,
    Reaped,
    Request,
    Retry,
    Rule,
    RuleChange,
    Visit,
)
from crawler.response import Response
from crawler.status import DeadLetter, HostView, JobStats, Trace, WorkerInfo


class Pace(Struct, frozen=True):
    """How hosts are treated that have asked for nothing else. Seconds and counts, per host, for the whole fleet."""

    delay: float = 1.0  # between the starts of two requests
    jitter: float = 0.0  # up to this share is added to `delay` at random
    concurrency: int = 1  # requests at once
    backoff: float = 60.0  # without a request after a first 429 or 503; doubles with each, up to a day
    target: float = 0.0  # requests on their way at once by which the delay follows a host's latency; 0: it does not
    longest: float = 60.0  # that it becomes by that
    patience: float = 3600.0  # with a host that cannot be reached, before its pages are given up


class Queue(Protocol):
    """What a worker does with requests: take some, and end each of them."""

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """pending → processing, at most `limit`, only from hosts that may be asked now. Books their next turn.

        The worker must start each at once, and commit each exactly once. After an error the next call returns
        what the lost reply held. A server that crashed and lost commits of its last second gives back what they had
        ended: to the same worker, while it lives.
        """

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """processing → done | pending | dead by each visit's outcome: links first, then items + acknowledgement.

        False: we did not hold that lease any more (reaped, maybe given to another): its outcome and items changed
        nothing. Its links may have been admitted, which whoever has it now does as well.
        """

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """processing → dead for bytes that are no request."""

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """processing → pending after `delay` seconds, bytes unchanged: a message of a version we do not know."""


class Adding(Protocol):
    """What a seeder does."""

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """(unknown) → pending. Known ones are counted and ignored: adding twice is adding once.

        `seed=True` also notes the hosts as belonging to the crawl (see `in_scope`) and may wait for room.
        A `dont_filter` request is always new.
        """

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """Somebody will go on adding seeds for `seconds` (0: has ended). Till then the job is not finished."""

    async def durable(self) -> None:
        """Return when a crash of the server's machine cannot undo any more what was changed before this call.

        Where the server cannot tell, at once. Raises `FrontierUnavailable` while the server's disk takes long.
        """


class Links(Protocol):
    """What a worker asks about the links of a page before it commits them."""

    def maybe_new(self, job: Job, requests: Sequence[Request]) -> Sequence[Request]:
        """Without those that are certainly known, as far as can be told without asking: adding them would change
        nothing. Most links of most pages are.
        """

    def maybe_new_urls(self, job: Job, urls: Sequence[str]) -> Sequence[str]:
        """The same for requests that are nothing but their URLs."""

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """For each host, whether it was seeded in this job."""


class Ledger(Protocol):
    """Which hosts share their turns."""

    async def join(self, host: str, group: str) -> float:
        """The host shares turns and caps with all hosts of its group (empty: it has none) from now on, in all jobs.

        The group of a literal address is named like that host. Returns for how many seconds at most it has been
        there; 0: since this moment.
        """


class SharedValues(Protocol):
    """Small values that one process finds out and the whole fleet uses."""

    async def get_shared(self, key: str) -> bytes | None:
        """A small value the fleet shares (robots.txt verdicts); None: nobody has put it, or it has expired."""

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Share it for `seconds`."""


class Asking(SharedValues, Protocol):
    """Who asks a host for its robots.txt, and what the host answered (a shared value)."""

    async def take_host(self, worker: str, lease: Lease) -> bool:
        """This page alone asks its host for what all its pages need. True: nothing more of the host is handed out, in
        any job, until the lease ends, however it does. The same lease is told the same again.

        False: another lease has the host, or this one has ended; a page that is handed back now comes again afterwards.
        """


class Leases(Protocol):
    """Who is alive, and what becomes of the requests of those who are not."""

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the worker's lease; with an empty `info`, what it said before stays.

        Synchronous, called from a thread with a connection of its own.
        """

    async def reap(self, worker: str | None = None, *, blame: tuple[Lease, Retry | Dead] | None = None) -> list[Reaped]:
        """processing → pending for the leases of workers whose heartbeat has expired; empty list: there are none.

        With `worker`: that one's, at once, because its supervisor saw it die. No crash is then counted against its
        requests. `blame` names the one that was being parsed, and its outcome: `Retry` counts an attempt.
        """


class Jobs(Protocol):
    """The crawls that the frontier knows."""

    async def create(self, job: Job) -> Job:
        """Create it, or return the job of that name that exists, with its own options and epoch."""

    async def all(self) -> list[Job]:
        """All jobs, oldest first."""

    async def delete(self, name: str) -> bool:
        """Delete all its state; the host ledger stays. False: there was none."""


class Reading(Protocol):
    """How the crawls and the workers stand."""

    async def stats(self, job: Job) -> JobStats:
        """The counters, O(shards). `finished` is exact."""

    async def workers(self) -> list[WorkerInfo]:
        """The workers known, alive and expired ones."""


class Hosts(Protocol):
    """How hosts stand."""

    async def hosts(self, job: Job, limit: int = 100) -> list[HostView]:
        """Hosts with requests of this job pending or in flight, the next one to be asked first. O(limit)."""


class Traces(Protocol):
    """What became of one URL."""

    async def trace(self, job: Job, url: str) -> Trace:
        """All that is known of a canonical URL. Looks through its host's line, so it is for people, not for crawling.

        The parts are read one after the other: what moves meanwhile may be seen in its old place.
        """


class Letters(Protocol):
    """The dead letters. With `ids` None all of the job are meant."""

    async def newest(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        """The dead letters, newest first, at most `limit`."""

    def each(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        """The dead letters one after the other in no order, however many there are; with `ids` those alone."""

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """dead → pending with a clean account; None: all of them. Returns how many."""

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """dead → dropped: gone for good, but still known; None: all of them. Returns how many."""


class Pauses(Protocol):
    """What is not handed out until a person resumes it."""

    async def pause(self, job: Job, what: str, name: str, why: str) -> bool:
        """Hand out nothing more of a `host` or `spider` in this job, or (`job`) of all of it. False: it was so before.

        Leases go on. What shares a host's line with the next page of a paused spider waits with it.
        """

    async def resume(self, job: Job, what: str, name: str) -> bool:
        """Lift a pause, a person's or one that `commit` made; its counts begin anew. False: there was none."""


class Store(Protocol):
    """What the state lies in."""

    async def uptime(self) -> float:
        """Seconds since it started."""

    async def keeps_data(self) -> bool:
        """Whether a restart keeps the crawl."""


class Rules(Protocol):
    """What people have ruled for the whole fleet."""

    async def rules(self) -> list[Rule]:
        """Those in force, oldest first."""


class Control(Rules, Protocol):
    """People set rules while a crawl runs, durable and obeyed from the next claim on, and question its workers."""

    async def set_rule(self, rule: Rule, *, undoes: str = "") -> RuleChange:
        """Put it in force instead of the one for the same action and subject, or lift that (empty `value`).

        The log says so in the same step. Hosts that wait by an old pace are given their new turn.
        """

    async def rule_log(self, limit: int = 1000) -> list[RuleChange]:
        """The last changes, newest first. The oldest are forgotten beyond some ten thousand."""

    async def ask(self, question: str) -> str:
        """Ask all worker processes something. Returns the call's id."""

    async def answers(self, call: str) -> dict[str, str]:
        """Worker → what it has said."""


class Broadcasts(Rules, Protocol):
    """What worker processes hear of, and answer: a rule has changed, or somebody asks."""

    async def last_broadcast(self) -> str:
        """Where to begin to listen."""

    async def hear(self, after: str) -> list[Broadcast]:
        """The calls behind that one; when there are none, waits up to a second for one."""

    async def answer(self, call: str, worker: str, text: str) -> None:
        """What this worker has to say to a call. Forgotten after a minute."""


class Outbox(Protocol):
    """Items wait here until they are durable in a sink. One exporter a job at a time."""

    async def read(self, job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """The next entries of all shards, each behind `after[shard]`, at most `limit` a shard. Removes nothing.

        Only those that are durable in the server: what a crash undid would be fetched, and written, a second time.
        May wait a second for that; raises `FrontierUnavailable` when the server's disk takes longer.
        """

    async def acknowledge(self, job: Job, positions: Mapping[int, str]) -> None:
        """All up to these positions are durable: drop them. Idempotent."""

    async def hold(self, job: Job, exporter: str, seconds: float) -> str:
        """Become or stay the job's only exporter for `seconds` (0: give it up). Returns who holds it now."""

    async def holder(self, job: Job) -> str:
        """Who exports the job now; empty: nobody."""


class Capabilities(Struct, frozen=True):
    """What a kind of backend can do, known before it is opened."""

    shared: bool = True  # other processes reach the same state through its address
    durable: bool = True  # the state outlives the process that made it


class Backend(Struct, frozen=True):
    """All shared state of the crawls, open: one attribute a seam. Whoever opened it closes it."""

    queue: Queue
    adding: Adding
    links: Links
    ledger: Ledger
    asking: Asking
    leases: Leases
    jobs: Jobs
    reading: Reading
    hosts: Hosts
    traces: Traces
    letters: Letters
    pauses: Pauses
    outbox: Outbox
    control: Control
    broadcasts: Broadcasts
    store: Store
    address: str  # what other processes open it with; may hold a password
    url: str  # the same for people, without the password
    capabilities: Capabilities = Capabilities()


class Fetcher(Protocol):
    """One HTTP exchange. No redirect is followed: it is returned as a response."""

    async def fetch(self, request: Request) -> Response:
        """Raises `FetchError` (`Refused` when address or scheme are not permitted). Bounded in bytes and seconds."""

    async def close(self) -> None:
        """Close the connections."""


class Sink(Protocol):
    """Where items end. Position and items become durable together, or not at all."""

    def open(self) -> Mapping[int, str]:
        """Repair what a crash left half-written; the position stored last, per shard (empty: none).

        Raises `OutputError` when it cannot be written, or another exporter holds it.
        """

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Make them durable, skipping what is there already. Returns the number of items written.

        Raises `OutputError`; the same entries may then be written again.
        """

    def close(self) -> None:
        """Let go."""
