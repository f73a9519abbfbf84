"""The interfaces between the parts. They are the architecture: all other code implements or uses one of them.

Backend    all shared state of the crawls, one attribute for each kind of user:

    queue     workers claim requests and end them      jobs     commands create, list and delete crawls
    adding    seeders add requests                     reading  counters and workers
    links     visits ask which links to keep           hosts    the state of hosts
    ledger    hosts join a group                       traces   the state of one URL
    asking    gates share robots.txt                   letters  the dead letters
    leases    workers stay alive, reapers take back    pauses   people pause and resume
    outbox    exporters move items to a sink           control  people change a running crawl
    tickets   tasks that wait for a job's result       broadcasts  workers receive changes and questions
    store     facts about the server                   schedules   schedulers begin crawls by a cron line
    closing   jobs end before they are finished        dead_items  items that a sink could not store

Fetcher    a request in, a response out
Source     where seeds come from, message by message
Sink       where items end
Archive    where the pages themselves are kept
FileStore  where the files of items are kept

A user takes the interface that it needs, never the backend. Only `app/` and those above it, who open a backend, hold
one and hand its parts on. The methods of all interfaces in the backend may raise `FrontierUnavailable` or
`FrontierFull`; the caller may then repeat the call until it succeeds, and it takes effect once. `FrontierReplaced` is
final: the server has lost the jobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from crawler.model import (
    Added,
    Broadcast,
    Claim,
    Dead,
    DeadItem,
    Exported,
    Failure,
    Job,
    Lease,
    Limits,
    OutboxEntry,
    Reaped,
    Request,
    Retry,
    Rule,
    RuleChange,
    Ticket,
    Visit,
)
from crawler.response import Response
from crawler.schedules.timetable import Timetable
from crawler.settings import DEFAULTS
from crawler.status import Backlog, Coverage, DeadLetter, Failing, HostView, JobStats, Trace, WorkerInfo


class Pace(Struct, frozen=True):
    """The politeness for hosts that ask for nothing else. Seconds and counts, per host, for the whole fleet.

    The defaults are those of the settings, but without chance: two requests are exactly `delay` apart.
    """

    delay: float = DEFAULTS.DOWNLOAD_DELAY  # between the starts of two requests
    jitter: float = 0.0  # largest random addition to `delay`, as a share of it
    concurrency: int = DEFAULTS.CONCURRENT_REQUESTS_PER_DOMAIN  # requests in flight at most
    backoff: float = DEFAULTS.BACKOFF_SECONDS  # rest after a first 429 or 503; doubles with each, up to a day
    target: float = 0.0  # requests in flight at which the delay, following a host's latency, aims; 0: fixed delay
    longest: float = DEFAULTS.AUTOTHROTTLE_MAX_DELAY  # largest delay that following the latency may choose
    patience: float = DEFAULTS.HOST_PATIENCE  # with an unreachable host, before its pages are given up


DEFAULT_PACE = Pace()


class Joined(NamedTuple):
    """The answer to a host that joins a group."""

    seconds: float  # for how long at most it has been in the group; 0 if it joined now
    has_turn: bool  # whether the request for which the group was looked up has a turn of it


class Queue(Protocol):
    """How a worker takes requests and ends each of them."""

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """pending → processing, at most `limit`, only from hosts that may be asked now. Books their next turn.

        The worker must start each request at once, and commit each exactly once. After an error the next call returns
        the requests of the lost reply. If a server crashed and lost the commits of its last second, a claim of the
        same worker returns those requests again, while the worker lives.
        """

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """processing → done | pending | dead by each visit's outcome: links first, then items + acknowledgement.

        Returns for each visit whether the worker still held the lease. False (it was reaped, and maybe claimed by
        another worker): its outcome and items changed nothing. Its links may have been admitted, as the other worker
        will admit them.
        """

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """processing → dead, for bytes that are not a request. Returns whether the worker still held them."""

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """processing → pending after `delay` seconds, for a message of an unknown version. Its bytes do not change."""


class Adding(Protocol):
    """How a seeder adds requests."""

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """(unknown) → pending. Known requests are counted and ignored: adding twice is adding once.

        `seed=True` also brings the hosts into the crawl's scope (see `in_scope`), and may wait for room.
        A `dont_filter` request is always new.
        """

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """Announce that a seeder goes on adding for `seconds` (0: it has ended). Until then the job is not finished."""

    async def durable(self) -> None:
        """Return when a crash of the server's machine can no longer undo the changes made before this call.

        Returns at once if the server cannot report that. Raises `FrontierUnavailable` if the server's disk is slow.
        """


class Links(Protocol):
    """How a worker filters the links of a page before it commits them."""

    def maybe_new(self, job: Job, requests: Sequence[Request]) -> Sequence[Request]:
        """Leave out requests that are certainly known, without a call to the server: adding them would change nothing.
        Most links of most pages are known.
        """

    def maybe_new_urls(self, job: Job, urls: Sequence[str]) -> Sequence[str]:
        """Do the same for requests that consist of a URL alone."""

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """Return for each host whether it was seeded in this job."""


class Ledger(Protocol):
    """Which hosts share their turns, and the turns that no claim can book."""

    async def join(self, host: str, group: str, job: str = "", pace: Pace = DEFAULT_PACE) -> Joined:
        """Make the host share turns and caps with all hosts of its group (empty: no group) from now on, in all jobs.

        The group of a literal address has the name of that host. `job`: that of the lease for which the caller looked
        the group up (empty: of none). If the host joins now, has no other request in flight, and the group may be asked
        at this `pace`, then that lease gets a turn, as if a claim had booked it. It never overtakes a host that waits
        for the group. A lost reply costs no more than that turn: the repeated call says that the lease has none.
        """

    async def take_turn(self, worker: str, lease: Lease, group: str, pace: Pace) -> float:
        """Take a turn of the host's group (empty: no group) before the host is asked. Idempotent.

        Returns 0.0 if the lease has it, until its commit or until the worker is reaped. It has it at once if the claim
        or `join` has booked it. In a store of several parts the group may be in the care of another part than the host:
        then over all parts its requests are at most `pace.concurrency` at once, and `pace.delay` apart. Otherwise
        returns for how many seconds the lease must not ask the host: the worker releases it (`Release.turn`), and no
        claim hands out requests of the group's hosts in the host's part before that time.
        """


class SharedValues(Protocol):
    """Small values that one process stores and the whole fleet uses."""

    async def get_shared(self, key: str) -> bytes | None:
        """Return a value that the fleet shares (robots.txt verdicts); None if it is missing or has expired."""

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Share the value for `seconds`."""


class Asking(SharedValues, Protocol):
    """Which lease asks a host for robots.txt, and what the host answered (a shared value)."""

    async def take_host(self, worker: str, lease: Lease) -> bool:
        """Give the lease its host to itself, to ask for what all the host's pages need. Idempotent.

        True: claims hand out no more requests of the host, in any job, until the lease ends, however it ends.
        False: another lease has the host, or this one has ended. If the worker releases the page now, it comes again
        after that lease.
        """


class Leases(Protocol):
    """Heartbeats, and the reaping of silent workers."""

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the worker's lease and store its `info`; an empty `info` keeps the previous one.

        Synchronous: a thread calls it, on a connection of its own.
        """

    async def reap(self, worker: str | None = None, *, blame: tuple[Lease, Retry | Dead] | None = None) -> list[Reaped]:
        """processing → pending for the leases of workers whose heartbeat has expired; an empty list if there are none.

        With `worker`, reaps that worker at once, because its supervisor saw it die; no request then counts a crash.
        `blame` names the lease that was being parsed, and its outcome: `Retry` counts an attempt.
        """


class Jobs(Protocol):
    """The crawls that the frontier knows."""

    async def create(self, job: Job) -> Job:
        """Create the job, or return the existing job of that name with its own options and epoch."""

    async def all(self) -> list[Job]:
        """All jobs, oldest first."""

    async def delete(self, name: str) -> bool:
        """Delete all state of the job; the host ledger stays. Returns whether the job existed."""


class Reading(Protocol):
    """The state of crawls and workers."""

    async def stats(self, job: Job) -> JobStats:
        """Read the job's counters, in O(shards). `finished` is exact."""

    async def coverage(self, job: Job) -> list[Coverage]:
        """Read in how many of the job's items each field is filled, by callback and class, in alphabetical order."""

    async def workers(self) -> list[WorkerInfo]:
        """List the known workers, alive and expired."""

    async def waits_for(self) -> str:
        """Say what all that is added waits for, such as replicas of the server; empty if for nothing."""


class Hosts(Protocol):
    """The state of hosts."""

    async def hosts(self, job: Job, limit: int = 100) -> list[HostView]:
        """List hosts with requests of this job pending or in flight, by their next turns. O(limit)."""


class Traces(Protocol):
    """The state of one URL."""

    async def trace(self, job: Job, url: str) -> Trace:
        """Report all that is known of a canonical URL. It searches the host's line: for people, not for crawling.

        It reads the parts one after the other, so a request that moves meanwhile may appear in its old place.
        """


class Letters(Protocol):
    """The dead letters. `ids` None selects all of the job."""

    async def newest(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        """Return the dead letters, newest first, at most `limit`."""

    async def failing(self, job: Job, limit: int = 1000) -> list[Failing]:
        """Return requests that wait for another try, those that failed last first, at most `limit`."""

    def each(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        """Yield the dead letters in no particular order, however many there are; with `ids` only those."""

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """dead → pending, without attempts and crashes. Returns how many."""

    async def redo(self, job: Job) -> int:
        """done → pending: the pages whose items lacked fields that they had before. Returns how many."""

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """dead → dropped: deletes the letters for good; their URLs stay known. Returns how many."""


class Pauses(Protocol):
    """Pauses, which last until a person resumes what was paused."""

    async def pause(self, job: Job, what: str, name: str, why: str) -> bool:
        """Hand out no more requests of a `host` or `spider` in this job, or (`job`) of the whole job.

        Returns False if it was already paused. Leases go on. If a host's next page belongs to a paused spider, the rest
        of the host's line also waits.
        """

    async def resume(self, job: Job, what: str, name: str) -> bool:
        """Lift a pause of a person or of `commit`; its counts begin again. Returns whether there was a pause."""


class Closing(Protocol):
    """How a job ends before it is finished. A closed job hands out no more requests; those in flight end as usual, and
    then it counts as finished. What is pending stays."""

    async def limit(self, job: Job, limits: Limits) -> None:
        """Set the job's limits in place of those that it has (without any: lift them).

        No claim hands out more pages than `limits.pages` still allows, with all that is in flight. A job that a limit
        has closed is opened again if now none is reached. The seconds count from the last change.
        """

    async def close(self, job: Job, reason: str) -> None:
        """Close the job; one that is closed keeps its first reason."""

    async def reopen(self, job: Job) -> str:
        """Open the job again, without limits. Returns why it was closed; empty if it was not."""


class Store(Protocol):
    """The server or process that keeps the state."""

    async def uptime(self) -> float:
        """Return the seconds for which the same store has answered: since it started, or took the place of another."""

    async def keeps_data(self) -> bool:
        """Return whether the crawl survives a restart."""

    async def is_slowed_by_allocator(self) -> bool:
        """Return whether a server holds so much with the C library's allocator that each request costs it more."""

    async def replica_advice(self) -> list[str]:
        """Return what to change so that an outage of one server neither stops the crawl nor loses a part of it."""


class Rules(Protocol):
    """The rules that people have set for the whole fleet."""

    async def rules(self) -> list[Rule]:
        """Return the rules in force, oldest first."""


class Control(Rules, Protocol):
    """How people set rules while a crawl runs, and question its workers. Rules are durable; the next claim obeys."""

    async def set_rule(self, rule: Rule, *, undoes: str = "") -> RuleChange:
        """Set the rule in place of one for the same action and subject, or lift that one (empty `value`).

        The same step logs the change. Hosts that wait by an old pace get their new turns.
        """

    async def rule_log(self, limit: int = 1000) -> list[RuleChange]:
        """Return the last changes, newest first. The log keeps some ten thousand."""

    async def ask(self, question: str) -> str:
        """Ask all worker processes a question. Returns the id of the broadcast."""

    async def answers(self, call: str) -> dict[str, str]:
        """Return worker → its answer to that broadcast, for those that have answered."""


class Broadcasts(Rules, Protocol):
    """What worker processes receive and answer: a rule has changed, or a question."""

    async def last_broadcast(self) -> str:
        """Return the id of the newest broadcast, to listen from there."""

    async def hear(self, after: str) -> list[Broadcast]:
        """Return the broadcasts after that id; if there are none, wait up to a second for one."""

    async def answer(self, call: str, worker: str, text: str) -> None:
        """Store this worker's answer to a broadcast, for a minute."""


class Schedules(Protocol):
    """The schedules, and who runs them. Any number of schedulers may work at once."""

    async def now(self) -> float:
        """Return the server's time, in seconds since 1970: the clock by which ticks are due."""

    async def all(self) -> list[Timetable]:
        """Return all timetables by name. Leaves out those that cannot be read, and logs each once."""

    async def get(self, name: str) -> Timetable | None:
        """Return the timetable of that schedule; None if there is none that can be read."""

    async def replace(self, before: Timetable | None, after: Timetable) -> bool:
        """Store `after` in place of `before`, the timetable that the caller has read (None: there was none).

        False: somebody has changed it meanwhile, or the last tick decided in `after` is not due by the server's clock.
        """

    async def remove(self, name: str) -> bool:
        """Delete the schedule, also one that cannot be read; its jobs stay. Returns whether it existed."""


class Outbox(Protocol):
    """Where items wait until they are durable in all sinks of their job. A job has one exporter at a time."""

    async def read(self, job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """Return the next entries of all shards, each after `after[shard]`, at most `limit` per shard. Removes none.

        Returns only entries that are durable in the server: pages whose commit a crash undid would be fetched, and
        their items written, a second time. May wait a second for the server's disk; raises `FrontierUnavailable` if
        that takes longer.
        """

    async def acknowledge(self, job: Job, exported: Exported, sinks: Mapping[str, Exported] = {}) -> None:
        """Remove all entries up to these positions, because each sink has them, and note which. Idempotent.

        `sinks`: what each sink has, by the location that its target names; they replace those noted before. The values
        that one has left out are the counter `values_left_out/SINK`.
        """

    async def exported(self, job: Job) -> Exported:
        """Return what the last `acknowledge` said, or was about to say; nothing if there was none."""

    async def sinks(self, job: Job) -> dict[str, Exported]:
        """Return what each sink has, as far as the last `acknowledge` said; empty if there was none."""

    async def waiting(self, job: Job, after: Mapping[int, str]) -> int:
        """Return how many pages wait in the outbox behind these positions."""

    async def leave_behind(self, job: Job, sink: str, pages: int) -> None:
        """Count that a sink lacks so many pages for good: the counter `left_behind/SINK`. Idempotent."""

    async def keep_dead(self, job: Job, items: Sequence[DeadItem]) -> None:
        """Keep items that a sink cannot store. They are on the server's disk when it returns. Idempotent.

        Raises `OutputError` if the job has very many of them already.
        """

    async def hold(self, job: Job, exporter: str, seconds: float) -> str:
        """Become or stay the job's only exporter for `seconds` (0: stop). Returns the job's exporter now."""

    async def holder(self, job: Job) -> str:
        """Return the job's exporter; empty if it has none."""


class DeadItems(Protocol):
    """Items that a sink could not store. `ids` None selects all of the job."""

    def each(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadItem]:
        """Yield the items in no particular order; with `ids` only those."""

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """Put items back into the outbox, for the sinks that could not store them. Returns how many."""

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """Delete items for good. Returns how many."""


class Tickets(Protocol):
    """The tasks of other systems that wait for the result of a job."""

    async def issue(self, ticket: Ticket) -> bool:
        """Keep the ticket until `close`. Returns False if there is one of its id already, which stays as it is."""

    async def open(self) -> list[Ticket]:
        """Return all tickets, oldest first. O(tickets)."""

    async def close(self, id: str) -> bool:
        """Forget the ticket, because its task has the result. Returns whether there was one."""


class Capabilities(Struct, frozen=True):
    """The capabilities of a kind of backend, known before it is opened."""

    shared: bool = True  # other processes reach the same state through its address
    durable: bool = True  # the state outlives the process that made it


class Backend(Struct, frozen=True):
    """All shared state of the crawls, open: one attribute for each interface. The code that opened it closes it."""

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
    dead_items: DeadItems
    tickets: Tickets
    control: Control
    broadcasts: Broadcasts
    schedules: Schedules
    closing: Closing
    store: Store
    address: str  # the URL with which other processes open it; may contain a password
    url: str  # the same for people, without the password
    capabilities: Capabilities = Capabilities()


class Delivery(Struct, frozen=True):
    """One message of a source, which keeps it until it is settled."""

    body: bytes
    receipt: Any  # what the source needs to settle it
    priority: int = 0  # the broker's, for requests that name none


class Source(Protocol):
    """A queue of another system, whose messages are seeds. It delivers a message again until the message is settled.

    All methods may raise `BrokerUnavailable`. The messages taken before are then void, and will be delivered again.
    They raise `ConfigError` for a queue that does not exist or may not be used.
    """

    async def open(self) -> None:
        """Connect, and check the queue. The other methods do it again after an error."""

    async def take(self) -> Sequence[Delivery]:
        """Return the next messages, at most as many as memory should hold. If there are none, wait a second for one;
        an empty result means that the source is empty."""

    async def settle(self, taken: Sequence[Delivery], rejected: Sequence[tuple[Delivery, str]]) -> None:
        """End all that the last `take` returned. Those `rejected` first move, with the reason, where bad ones go."""

    async def backlog(self) -> Backlog:
        """Return what the source still has."""

    async def close(self) -> None:
        """Close the connection. What is not settled will be delivered again."""


HIT = "hit"
"""`Response.cache` of a page that came from the page cache, so that its host was not asked."""

NOT_CACHED = "not_cached"
"""Kind of the `FetchError` for a page that the page cache lacks, where no host may be asked."""


class Fetcher(Protocol):
    """Makes one HTTP exchange for each request. It follows no redirect but returns it as a response."""

    async def fetch(self, request: Request) -> Response:
        """Fetch the page, within bounds of bytes and seconds. Raises `FetchError`; `Refused` for an address or scheme
        that is not permitted."""

    async def close(self) -> None:
        """Close the connections."""


class Archive(Protocol):
    """Keeps the pages themselves. A page whose commit follows a `sync` after its `add` is in the archive for good."""

    async def add(self, lease: Lease, response: Response) -> str:
        """Take a page. Returns its line for the index of the archive."""

    async def sync(self) -> None:
        """Make all pages durable that were added. Raises `OutputError`; the caller may then call again."""


class FileStore(Protocol):
    """Where files are kept, under relative paths of letters, digits and `/ . _ -`. Its methods block, and raise
    `OSError`."""

    @property
    def location(self) -> str:
        """Where it is, for people."""

    def has(self, path: str) -> bool:
        """Return whether the file is there."""

    def get(self, path: str) -> bytes | None:
        """Return the content of a file; None if it is not there."""

    def put(self, path: str, data: bytes) -> None:
        """Make the file durable, whole or not at all, in place of any other of that path."""


class Sink(Protocol):
    """Where items end. Position and items become durable together, or not at all."""

    @property
    def location(self) -> str:
        """Where the items go now: an absolute path, `-`, or the URL or name of the output without a password."""

    @property
    def inode(self) -> int:
        """The file's inode; 0 if the sink is no file."""

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Repair what a crash left half-written, and return the last stored position per shard (empty: none).

        Raises `OutputError` if the sink cannot be written, another exporter holds it, or it lacks items that were
        `exported`.
        """

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Make the entries durable, without those already there. Returns the number of items written.

        Raises `OutputError`; the caller may then write the same entries again. Raises `UnstorableItems`, before it
        stores anything, for items that it can never store; the caller may leave these out (`OutboxEntry.left_out`).
        """

    async def finish(self) -> None:
        """Put the items in their final place: no more will come. Raises `OutputError`."""

    async def close(self) -> None:
        """Release the sink for other exporters."""


@runtime_checkable
class WithColumns(Protocol):
    """A `Sink` that leaves out values for which it has no column."""

    @property
    def values_left_out(self) -> int:
        """How many values of this job it has left out, also by earlier exporters."""


@runtime_checkable
class Gathering(Protocol):
    """A `Sink` that stores many pages at once. They wait in the outbox for each other."""

    @property
    def pages(self) -> int:
        """How many pages are enough for one `write`."""

    @property
    def seconds(self) -> float:
        """How long they may wait for more."""
