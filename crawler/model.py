"""The values that travel through the crawler. Frozen, and they know nobody.

A `Request` waits in the frontier. A worker claims it as a `Lease`, turns it into a `Visit` (what was found
out and what should happen: an `Outcome`), and commits that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct


class Request(Struct, frozen=True, kw_only=False):
    """A page to fetch, and the name of the spider method that will read it.

    It travels through the queue as JSON. What would arrive as something else fails the page that gave it, but for:

    - text as `body`, which becomes UTF-8; tuples in `meta`, which become lists;
    - subclasses of str, int, float, list and dict, which become those; None, which is nothing given;
    - lone surrogates, which become U+FFFD.
    """

    url: str
    callback: str = "parse"  # name of the spider's method; functions are accepted and stored by name
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    meta: Mapping[str, Any] = {}  # JSON values only, no NaN; at most 100 levels, and a megabyte with all the rest
    priority: int = 0  # higher first; FIFO inside equal priority; -1000..1000
    dont_filter: bool = False  # True: fetch even if the URL is known
    errback: str = ""  # spider method called when the request is given up
    delay: float = 0.0  # seconds from now before which it must not be fetched
    depth: int = 0  # links from a seed; set by the crawler
    spider: str = ""  # whose request it is; set by the crawler
    redirects: int = 0  # redirects followed to get here; set by the crawler
    unknown: Mapping[str, Any] = {}  # fields that a later version of the crawler added, kept for it; set by the crawler
    # A new field goes here: one line with a default (see `frontier/message.py`).


class Follow(Struct, frozen=True):
    """Links for `parse` to follow, canonical URLs such as `response.links`; yielded, they become requests.

    Links that the crawl certainly knows, as most links of most pages are, become none, which saves making them. `keep`
    chooses among the rest. For another callback yield requests: a URL that is known for `parse` is left out here, and
    nobody is told that the callback was wanted.
    """

    urls: Sequence[str]
    keep: Callable[[str], bool] | None = None


class Unfollowed(Struct, frozen=True):
    """Links that a callback leaves out: yielded, they are counted as `links/REASON`."""

    reason: str
    links: int


class Lease(Struct, frozen=True):
    """A request this worker holds, until it commits or the reaper takes it back.

    `message` is the very bytes that lie in the worker's processing list. They change with every delivery,
    so a late commit of an older delivery can match nothing.
    """

    job: str
    request: Request
    message: bytes
    host: str  # the politeness ledger's key
    attempt: int = 0  # failed attempts so far
    delivery: int = 0  # times it was handed out before
    claimed_at: float = 0.0  # worker's monotonic seconds when it asked for it: what the ledger knew then, it obeyed
    epoch: str = ""  # of its job: a later job of the same name may hold the very same bytes


class Junk(Struct, frozen=True):
    """Bytes in the queue that are no request (`version` None) or one of a format we do not know."""

    job: str
    message: bytes
    why: str
    version: int | None = None


class Failure(Struct, frozen=True):
    """Why an attempt failed, as it will stand in the dead letter."""

    kind: str  # short stable word: `http_503`, `timeout`, `callback`, `crash` …
    message: str
    status: int | None = None
    traceback: str = ""
    error: str = ""  # class of what the spider's code raised
    line: str = ""  # `shop.py:42`, the deepest line of the spider's own file that it came through


class Done(Struct, frozen=True):
    """Fetched and parsed; never asked for again."""


class Skip(Struct, frozen=True):
    """Deliberately not fetched or not parsed, for a reason that is counted (`robots`, `offsite`, `depth` …)."""

    reason: str
    detail: str = ""  # what decided it: the line of robots.txt, where a redirect leads …; kept for a while (`trace`)


class Retry(Struct, frozen=True):
    """Failed for now: back to pending after `delay` seconds, with one attempt more on its account.

    When the ledger finds that the host is to blame, busy or down and not for the first time, no attempt is counted,
    and the page waits for the host. So it is with `Dead` pages whose tries are used up.
    """

    failure: Failure
    delay: float


class Dead(Struct, frozen=True):
    """Given up; kept among the dead letters until a person redrives or drops it."""

    failure: Failure
    spent: bool = False  # only because its tries are used up: another might succeed


class Release(Struct, frozen=True):
    """Handed back unharmed: to pending after `delay` seconds, no attempt counted."""

    reason: str
    delay: float = 0.0
    own_limit: str = ""  # of this machine, which was in the way


Outcome = Done | Skip | Retry | Dead | Release


class Visit(Struct, frozen=True):
    """What one visit found out, and what should happen now. Nothing shared has changed yet."""

    outcome: Outcome
    items: tuple[bytes, ...] = ()  # of Done and Dead; one JSON object each, valid UTF-8, without line breaks
    links: tuple[Request, ...] = ()
    dropped: Mapping[str, int] = {}  # items left out, by reason
    unfollowed: Mapping[str, int] = {}  # links left out, by reason (`offsite`, `depth`, `nofollow` …)
    status: int | None = None  # of the response, when there was one
    size: int = 0  # bytes of the decoded body
    # Worker's monotonic seconds by which the host had surely been asked: the first bytes of its answer, or the moment
    # we gave up. The next turn counts from here, so no delay on our side shortens the gap that the host sees.
    asked_at: float | None = None  # None: it was not asked
    unasked: bool = False  # it surely was not: the host's turn, which the claim booked, is free again
    seconds: float = 0.0  # how long the host took
    pause: float = 0.0  # the host asked to be left alone for that long (Retry-After)
    health: Literal["", "ok", "busy", "down"] = ""  # how the host is (see `policy.health`); empty: not known
    host_delay: float | None = None  # seconds between requests that this host asked for (Crawl-delay)


class Job(Struct, frozen=True):
    """One crawl: its own pending lists, seen-set, dead letters, outbox and counters."""

    name: str
    epoch: str = ""  # random at creation; tells this job from a later one of the same name
    order: str = "fifo"  # or `lifo` (depth first)
    spider: str = ""  # for seeds that name none
    arguments: Mapping[str, str] = {}  # `-a NAME=VALUE`, given to the spiders
    created: float = 0.0  # server's clock, Unix seconds


class Added(Struct, frozen=True):
    """Result of an add: how many were new, how many were known already."""

    new: int
    known: int


class Claim(Struct, frozen=True):
    """Result of a claim.

    `wait` is the number of seconds until something can become due, None when nothing is pending at all.
    `idle` says in one word why no more was handed out: `` (limit reached), `empty`, `cooling`, `outbox`, `paused`.
    `gone` names the jobs asked for that the server does not know (any more).
    """

    leases: tuple[Lease, ...] = ()
    junk: tuple[Junk, ...] = ()
    wait: float | None = None
    idle: str = ""
    gone: tuple[str, ...] = ()


class Reaped(Struct, frozen=True):
    """One worker's leases taken back: how many went to pending, how many were dead by then."""

    worker: str
    requeued: int = 0
    dead: int = 0


class Rule(Struct, frozen=True):
    """What a person has ordered for the whole fleet, until somebody lifts it (`rules.py` has the grammar)."""

    action: str  # rate, concurrency, pause, block, priority or log-level
    what: str  # host, spider, job or fleet
    name: str = ""  # of the host, spider or job
    value: str = ""  # as a person writes it: `10/m`, `4`, `on`, `DEBUG`; empty: lifted
    job: str = ""  # of a pause: in this job alone; empty: in all
    why: str = ""
    by: str = ""  # user@host
    id: str = ""  # number of the change that put it in force; given by the frontier
    at: float = 0.0  # server's clock, Unix seconds; given by the frontier


class RuleChange(Struct, frozen=True):
    """One line of the log of who ordered what: a rule that was set, replaced or lifted. `rule.id` is its number."""

    rule: Rule
    before: str = ""  # value of the rule it replaced or lifted; empty: there was none
    undoes: str = ""  # number of the change that it takes back
    call: str = ""  # of the workers, who answer it


class Broadcast(Struct, frozen=True):
    """Something all worker processes should hear of, and answer."""

    id: str
    word: str  # `rule`: one has changed; else a question, such as `active`


class OutboxEntry(Struct, frozen=True):
    """The items of one page, at its place in one shard's outbox. `position` grows within a shard."""

    shard: int
    position: str
    items: tuple[bytes, ...]
