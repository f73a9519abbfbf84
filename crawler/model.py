"""The values that travel through the crawler. They are frozen and depend on no other part.

A `Request` waits in the frontier. A worker claims it as a `Lease`, turns it into a `Visit` (what it found out and what
should happen: an `Outcome`), and commits the visit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import force_setattr

from crawler.parsing import request_fields, scrapy_words
from crawler.parsing.cookies import cookies_in

_make: Any = type(Struct).__call__
_USUAL = frozenset({"callback", "errback", "spider"})
_NAMED = frozenset({str, MethodType})
_BY_PLACE = 5  # positional arguments: the first ones, which mean the same in Scrapy


class _Checked(type(Struct)):  # type: ignore[misc]
    """Makes a request that would not travel fail on the spider's own line. Copies are not checked again."""

    def __call__(cls, *given: Any, **fields: Any) -> Any:
        """Make the request. Raise `TypeError` for an unknown argument, `ValueError` for a value that cannot travel."""
        if len(given) == 1 and request_fields.is_plain_url(given[0]) and (not fields or _are_usual(fields)):
            return _make(cls, *given, **fields)  # most requests end here; the rest takes three times as long
        if len(given) > _BY_PLACE:
            raise TypeError("only url, callback, method, headers and body may be positional arguments; name the others")
        if not request_fields.PARTS.isdisjoint(fields):
            given, fields = (), request_fields.without_parts(given, fields)
        try:
            made = _make(cls, *given, **fields)
        except TypeError as error:
            raise TypeError(_advice(fields) or str(error)) from None
        request_fields.check_url(made.url)
        if made.callback and None not in fields.values() and request_fields.is_bare(made):
            request_fields.check_times(made)
            request_fields.check_callbacks(made)
            return made
        try:
            for field, value in request_fields.settled(made).items():
                force_setattr(made, field, value)  # nobody else has it yet, and a copy costs more
        except ValueError as error:
            raise ValueError(f"request for {made.url}: {error}") from None
        return made


def _are_usual(fields: Mapping[str, Any]) -> bool:
    return _USUAL.issuperset(fields) and _NAMED.issuperset(map(type, fields.values())) and all(fields.values())


def _advice(fields: Mapping[str, Any]) -> str:
    """Return what to write instead of the first argument that is a word of Scrapy; empty if there is none."""
    words = [word for word in fields if word in scrapy_words.REQUEST]
    return f"Request({words[0]}=…): {scrapy_words.REQUEST[words[0]]}" if words else ""


class Request(Struct, frozen=True, metaclass=_Checked):
    """A page to fetch, and the name of the spider method that will read it.

    It travels through the queue as JSON. A value that would arrive changed raises `ValueError` where the request is
    made, except:

    - text as `body` becomes UTF-8; `method` becomes upper case; tuples in `meta` become lists;
    - subclasses of str, int, float, list and dict become those types; None means the default;
    - lone surrogates become U+FFFD.

    These words of Scrapy in `meta` are obeyed: `download_timeout` (seconds), `dont_redirect`, `dont_retry`,
    `max_retry_times`, `handle_httpstatus_list`, `handle_httpstatus_all`, `dont_obey_robotstxt`, `allow_offsite`,
    `dont_cache` and `dont_merge_cookies`. Others that Scrapy obeys, such as `proxy`, raise `ValueError`.

    Two more arguments become part of the others: `cookies`, a dict or a list of dicts, goes into the Cookie header;
    `encoding` holds for a body and a URL that are text outside ASCII. A list of values of a header is joined.
    """

    url: str
    callback: str = "parse"  # name of the spider's method; functions are accepted and stored by name
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    meta: Mapping[str, Any] = {}  # JSON values only, no NaN; at most 100 levels; the whole request at most a megabyte
    priority: int = 0  # higher first; FIFO within a priority; -1000..1000
    dont_filter: bool = False  # True: fetch even if the URL is known
    errback: str = ""  # spider method called when the request is given up
    delay: float = 0.0  # seconds from now before which it must not be fetched
    depth: int = 0  # links from a seed; set by the crawler
    spider: str = ""  # name of the spider that reads the page; set by the crawler
    redirects: int = 0  # redirects followed to get here; set by the crawler
    unknown: Mapping[str, Any] = {}  # fields of a later version of the crawler, passed on to it; set by the crawler
    cb_kwargs: Mapping[str, Any] = {}  # JSON values, given to the callback as keyword arguments
    media: Mapping[str, Any] = {}  # an item that waits for its files (`visit/waiting.py`); set by the crawler
    # A new field goes here: one line with a default (see `frontier/message.py`).

    if TYPE_CHECKING:

        def __init__(
            self,
            url: str,
            callback: str | Callable[..., Any] | None = "parse",
            method: str | None = "GET",
            headers: Any = None,
            body: bytes | str | None = b"",
            *,
            meta: Mapping[str, Any] | None = None,
            priority: int = 0,
            dont_filter: bool = False,
            errback: str | Callable[..., Any] | None = "",
            delay: float = 0.0,
            depth: int = 0,
            spider: str = "",
            redirects: int = 0,
            unknown: Mapping[str, Any] | None = None,
            cb_kwargs: Mapping[str, Any] | None = None,
            cookies: Any = None,
            encoding: str | None = None,
            flags: Sequence[str] | None = None,
        ) -> None: ...

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies in its Cookie header."""
        field = next((value for name, value in self.headers.items() if name.lower() == "cookie"), "")
        return cookies_in(field)

    @property
    def encoding(self) -> str:
        """The encoding of a body that was given as text and without an encoding."""
        return "utf-8"

    def replace(self, **changes: Any) -> Request:
        """A copy with these arguments of `Request` changed, which is checked like a new request. New `cookies` take the
        place of the old ones."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__} | changes
        if "url" in changes:
            fields["spider"] = changes.get("spider", "")  # otherwise it stands for a URL that is canonical
        if "cookies" in changes and "headers" not in changes:
            fields["headers"] = {name: value for name, value in self.headers.items() if name.lower() != "cookie"}
        return Request(**fields)

    @classmethod
    def from_curl(cls, command: str, ignore_unknown_options: bool = False, **fields: Any) -> Request:
        """A request from a command line of curl, as browsers copy it; `fields` are arguments of `Request` that take the
        place of what it says. Raises `ValueError`, also for an option that is not known, which Scrapy ignores."""
        from crawler.parsing.curl import request_fields as read  # needs argparse, which few spiders need

        return Request(**read(command, ignore_unknown_options=ignore_unknown_options) | fields)

    def copy(self) -> Request:
        """A copy that shares no list and no dict with this request."""
        return self.replace()


BLANK: Request = _make(Request, "")
"""A request without a URL: `replace(BLANK, url=…)` makes one for a canonical URL faster than `Request` does."""

SITEMAP_CALLBACK = "parse_sitemap"
"""The callback of a request for a sitemap, which may be larger than a page (SITEMAP_MAXSIZE)."""


class Follow(Struct, frozen=True):
    """Canonical URLs, such as `response.links`, that the crawler turns into requests with the callback `parse`.
    A relative one is left out, counted (`links/malformed`), and logged with the spider's line.

    It makes no requests for links that the crawl certainly knows, as it does most links of most pages. `keep` chooses
    among the rest; what it refuses is counted as `links/filtered`. For another callback yield requests: here a URL that
    is known with `parse` is left out, and not counted as wanted by another callback.
    """

    urls: Sequence[str]
    keep: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        """Raise `TypeError` for one URL as text: its letters would be the links."""
        if isinstance(self.urls, str):
            raise TypeError(f"Follow({self.urls[:80]!r}): expected a list of URLs; for one write Follow([url])")


class Unfollowed(Struct, frozen=True):
    """A number of links that a callback leaves out. The crawler counts them as `links/REASON`."""

    reason: str
    links: int


class Lease(Struct, frozen=True):
    """A request this worker holds, until it commits or the reaper takes it back.

    `message` is the bytes in the worker's processing list. They change with every delivery, so a late commit of an
    older delivery matches nothing.
    """

    job: str
    request: Request
    message: bytes
    host: str  # its key in the host ledger
    attempt: int = 0  # failed attempts so far
    delivery: int = 0  # times it was handed out before
    claimed_at: float = 0.0  # worker's monotonic seconds when its claim began; the claim obeyed the ledger of that time
    epoch: str = ""  # of its job; distinguishes it from a later job of the same name with the same bytes


class Junk(Struct, frozen=True):
    """Bytes in the queue that are not a request (`version` None), or are one of an unknown version."""

    job: str
    message: bytes
    why: str
    version: int | None = None


class Failure(Struct, frozen=True):
    """Why an attempt failed, as the dead letter records it."""

    kind: str  # short stable word: `http_503`, `timeout`, `callback`, `crash` …
    message: str
    status: int | None = None
    traceback: str = ""
    error: str = ""  # class of the exception that the spider's code raised
    line: str = ""  # `spiders/shop.py:42`, the deepest line of the user's code in the traceback


class Done(Struct, frozen=True):
    """Fetched and parsed; never fetched again."""


class Skip(Struct, frozen=True):
    """Deliberately not fetched or not parsed. The reason is counted (`robots`, `offsite`, `depth` …)."""

    reason: str
    detail: str = ""  # what decided it: the line of robots.txt, the redirect's target …; kept for a while (`trace`)


class Step(Struct, frozen=True):
    """An item is one step further on the way to its files (`visit/waiting.py`). No page; never fetched again."""

    why: str = ""  # why the file was given up; empty if it was not


class Retry(Struct, frozen=True):
    """Failed for now: back to pending after `delay` seconds, with one more attempt.

    If the commit finds that the host is to blame (busy or down, and not for the first time), it counts no attempt, and
    the page waits for the host. The same holds for `Dead` pages whose tries are used up.
    """

    failure: Failure
    delay: float


class Dead(Struct, frozen=True):
    """Given up: kept as a dead letter until a person redrives or drops it."""

    failure: Failure
    spent: bool = False  # dead only because its tries are used up


LACKING = "no spider"  # a worker's idleness: all its jobs need a spider or a callback that its program lacks


class Release(Struct, frozen=True):
    """Handed back unharmed: to pending after `delay` seconds, without an attempt."""

    reason: str
    delay: float = 0.0
    turn: float = 0.0  # seconds until its host's address has a turn for it, which it was refused; 0: it was not
    own_limit: str = ""  # the limit of this machine that the visit met; empty if none
    lacks: str = (
        ""  # why this worker's program cannot read the page: it lacks the spider or the callback; empty if it can
    )


Outcome = Done | Skip | Step | Retry | Dead | Release


MAX_SHARDS = 1_024
"""Shards of one frontier: a claim may ask each of them."""

COVERED_FIELDS = 100
"""Fields of one callback's items that a job counts by name. It bounds their number, because a spider may invent
names."""


def with_spider(callback: str, spider: str) -> str:
    """Return the name of a callback with its spider's: `shop.parse_item`."""
    return f"{spider}.{callback}"


class Filled(Struct, frozen=True):
    """How many items of one class a page gave, and in how many of them each field is filled."""

    callback: str  # that read the page, with its spider: `shop.parse_item`
    kind: str  # the name of the items' class: `Product`, or `dict`
    items: int
    fields: Mapping[str, int]  # name → items in which it is filled
    others: int = 0  # filled fields that are not counted by name, because there are too many


class Visit(Struct, frozen=True):
    """What a worker found out about one lease, and what should happen now. Nothing shared has changed yet."""

    outcome: Outcome
    items: tuple[
        bytes, ...
    ] = ()  # of Done, Dead, Skip and Step; one JSON object each, valid UTF-8, without line breaks
    # one for each item, by which the commit leaves out those that the job has; "": kept in any case; none: keep all
    item_keys: tuple[str, ...] = ()
    item_kinds: tuple[str, ...] = ()  # the name of each one's class, "" for a dict; none: all are dicts
    links: tuple[Request, ...] = ()
    dropped: Mapping[str, int] = {}  # items left out, by reason
    unfollowed: Mapping[str, int] = {}  # links left out, by reason (`offsite`, `depth`, `nofollow` …)
    noted: Mapping[str, int] = {}  # what else the job counts, by its counters (`cut/…`, `empty/…`)
    status: int | None = None  # of the response, if there was one
    size: int = 0  # bytes of the decoded body
    # Worker's monotonic seconds by which the request had certainly reached the host: the first bytes of its answer, or
    # the moment the worker gave up. The next turn counts from here, so a slow worker does not shorten the host's gap.
    asked_at: float | None = None  # None: it was not asked
    unasked: bool = False  # it was certainly not asked, so the turn that the claim booked is free again
    seconds: float = 0.0  # how long the host took to answer
    pause: float = 0.0  # seconds for which the host asked for no requests (Retry-After)
    health: Literal["", "ok", "busy", "down"] = ""  # state of the host (see `policy.health`); empty: unknown
    host_delay: float | None = None  # seconds between requests that this host asked for (Crawl-delay)
    close: str = ""  # why the spider closes the job with this page; empty: it does not
    filled: tuple[Filled, ...] = ()  # which fields of its items are filled
    archived: str = ""  # its line in the index of the archive (WARC_DIR); empty: it is in none


DEFAULT_SPIDER = "site"
"""The spider of a crawl that names none."""

DEFAULT_ORDER = "fifo"
"""The order of a job for which none is given: breadth first."""


class Job(Struct, frozen=True):
    """One crawl: its own pending lists, seen-set, dead letters, outbox and counters."""

    name: str
    epoch: str = ""  # random at creation; distinguishes this job from a later one of the same name
    order: str = DEFAULT_ORDER  # or `lifo` (depth first)
    spider: str = ""  # for seeds that name none
    arguments: Mapping[str, str] = {}  # `-a NAME=VALUE`, given to the spiders
    created: float = 0.0  # server's clock, Unix seconds
    follow: bool = True  # False: only the seeds, and where they redirect to, are fetched


class Limits(Struct, frozen=True):
    """When a job is closed before it is finished, counted over the whole fleet. 0: no such limit."""

    pages: int = 0  # read: fetched, and their callbacks run
    items: int = 0
    errors: int = 0  # times that the spider's code raised
    seconds: float = 0.0  # since the limits were set
    pages_without_item: int = 0  # read since the last item
    seconds_without_item: float = 0.0


BY_LIMIT = "closespider_"
"""How the reason of a job begins that a limit has closed: it is Scrapy's word for the limit."""


class Ticket(Struct, frozen=True):
    """A task of another system, such as Celery, that waits for the result of a job."""

    id: str  # of the task
    job: str
    epoch: str  # of the job; a later job of the same name is not what was ordered
    is_page: bool = False  # the result is the items of the job's only page, and the job ends with it
    refused: int = 0  # seeds of the task that may not be asked for
    issued: float = 0.0  # Unix seconds, the clock of the machine that issued it
    reply: str = ""  # what the other system needs to take the result; the crawler does not read it


class Added(Struct, frozen=True):
    """Result of an add: how many requests were new, and how many were known."""

    new: int
    known: int


class Claim(Struct, frozen=True):
    """Result of a claim.

    `wait` is the number of seconds until something can become due, None if nothing is pending.
    `idle` says in one word why there are no more leases: `` (limit reached), `empty`, `cooling`, `outbox`, `paused`,
    `closed` (the jobs were ended early), `limit` (what is in flight may be all that they still may read).
    `gone` names the jobs of the claim that the server does not know, or no longer knows.
    """

    leases: tuple[Lease, ...] = ()
    junk: tuple[Junk, ...] = ()
    wait: float | None = None
    idle: str = ""
    gone: tuple[str, ...] = ()


class Reaped(Struct, frozen=True):
    """The leases taken back from one worker: how many went to pending, and how many became dead."""

    worker: str
    requeued: int = 0
    dead: int = 0


class Rule(Struct, frozen=True):
    """What a person ordered for the whole fleet, until it is lifted (`control/rules.py` has the grammar)."""

    action: str  # rate, concurrency, pause, block, priority or log-level
    what: str  # host, spider, callback, job or fleet
    name: str = ""  # of the host, spider, callback or job
    value: str = ""  # as a person writes it: `10/m`, `4`, `on`, `DEBUG`; empty: lifted
    job: str = ""  # of a pause: the only job it applies to; empty: all jobs
    why: str = ""
    by: str = ""  # user@host
    id: str = ""  # number of the change that put it in force; given by the frontier
    at: float = 0.0  # server's clock, Unix seconds; given by the frontier


class RuleChange(Struct, frozen=True):
    """One entry of the log of changes: a rule that was set, replaced or lifted. `rule.id` is the change's number."""

    rule: Rule
    before: str = ""  # value of the rule it replaced or lifted; empty if there was none
    undoes: str = ""  # number of the change that it reverts
    call: str = ""  # id of the broadcast that the workers answer


class Broadcast(Struct, frozen=True):
    """A message that all worker processes receive and answer."""

    id: str
    word: str  # `rule`: a rule has changed; otherwise a question, such as `active`


class OutboxEntry(Struct, frozen=True):
    """The items of one page, at its place in one shard's outbox. `position` grows within a shard."""

    shard: int
    position: str
    items: tuple[bytes, ...]
    url: str = ""  # of the page; empty for an entry of an older version
    spider: str = ""  # that read it
    archived: str = ""  # the page's line in the index of the archive; empty: it is in none
    left_out: frozenset[int] = frozenset()  # numbers (from 0) of the items that the sink cannot store
    kinds: tuple[str, ...] = ()  # the name of each item's class, "" for a dict; none: all are dicts, or nobody knows
    only_for: str = ""  # the one sink that gets it, by the location that its target names; empty: all

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield the items that a sink is to store, each with its number within the page."""
        return ((number, item) for number, item in enumerate(self.items) if number not in self.left_out)

    def kind(self, number: int) -> str:
        """Return the name of an item's class; empty for a dict, and in an entry of an older version."""
        return self.kinds[number] if self.kinds else ""


class BadItem(Struct, frozen=True):
    """An item that a sink cannot store, and why."""

    shard: int
    position: str  # of its page in the shard's outbox
    number: int  # within the page, from 0
    why: str  # names the field, the type of its value and the sink


class DeadItem(Struct, frozen=True):
    """An item that an output could not store."""

    id: str
    output: str  # the location that its target names
    why: str
    item: str  # JSON
    url: str = ""  # of the page
    spider: str = ""  # that read it
    kind: str = ""  # the name of its class; empty for a dict


class Exported(Struct, frozen=True):
    """What has left a job's outbox: the last position in each shard, and the location of the sink that has it."""

    positions: Mapping[int, str] = {}
    location: str = ""
    inode: int = 0  # of the file, to know it when it was moved; 0 if it is no file
    # the positions behind the last batch of which the sink has an item: it need not know later ones; None: the same
    kept: Mapping[int, str] | None = None
    values_left_out: int = 0  # for which the sink has no column
