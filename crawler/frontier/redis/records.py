"""Converts the crawler's values to the arguments of the scripts, and the scripts' replies to values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import structlog

from crawler.frontier import message as wire
from crawler.frontier.redis.coverage import Noted, noted
from crawler.frontier.redis.keys import shard_of
from crawler.frontier.rules import END_OF_TIME, MAX_DETAIL
from crawler.model import Claim, Dead, Done, Failure, Junk, Lease, Outcome, Release, Retry, Skip, Step, Visit
from crawler.parsing.charset import clean
from crawler.parsing.url import host_of
from crawler.policy import counts, verdict
from crawler.status import DeadLetter, Failing

log = structlog.get_logger()

MAX_SAID = 1_000  # log lines about unreadable entries
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_NUMBER = re.compile(rb"-?[0-9]{1,18}(?:\.[0-9]{1,20})?").fullmatch


def text(value: bytes | None) -> str:
    """Bytes of the server as text; None becomes empty, and bytes that are not UTF-8 become U+FFFD."""
    return (value or b"").decode("utf-8", "replace")


def number(value: bytes | None) -> float:
    """Bytes of the server as a number; 0 for bytes that are not a number, as `as_number` in the scripts."""
    return float(value) if value and _NUMBER(value) else 0.0


class Unreadable:
    """Logs once for each unreadable entry in the server, which the caller leaves out. Everything else goes on."""

    def __init__(self, what: str, then: str) -> None:
        """`what` is the kind of entry (a job, a rule …); `then` says what a person can do."""
        self._what = what
        self._then = then
        self._said: set[str] = set()

    def met(self, name: str, why: object) -> None:
        """Log that this entry is unreadable, and why."""
        if name not in self._said and len(self._said) < MAX_SAID:
            self._said.add(name)
            log.warning("unreadable", what=self._what, name=name, why=str(why), then=self._then)


class DeadRecord(msgspec.Struct, frozen=True):
    """A dead letter as it is stored; the script adds `died`. It does not repeat what the message contains."""

    attempts: Annotated[int, msgspec.Meta(ge=0)] = 0
    worker: str = ""
    failure: Failure = Failure("unknown", "")
    message: str = ""
    died: Annotated[float, msgspec.Meta(ge=0, lt=END_OF_TIME)] = 0  # the server's clock, ms


def dead_record(worker: str, message: bytes, failure: Failure) -> bytes:
    """The JSON of a dead letter without its time, which the script adds."""
    try:
        attempts = wire.decode(message).attempt + 1
    except wire.JunkMessage:
        attempts = 0
    shown = message.decode("utf-8", "backslashreplace")
    record = {"attempts": attempts, "worker": worker, "failure": failure, "message": shown}
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:  # lone surrogates, which headers, pages, and errors that quote them contain
        words = {name: clean(value) for name, value in msgspec.structs.asdict(failure).items() if type(value) is str}
        return msgspec.json.encode({**record, "failure": msgspec.structs.replace(failure, **words)})


def read_dead(key: str, record: bytes) -> DeadLetter:
    """Read a stored dead letter. One that a script wrote may contain bytes that are not text; they become `\\xff`.

    A record that is not a letter becomes a letter of the kind `unreadable`, with the record as its message."""
    try:
        try:
            read = msgspec.json.decode(record, type=DeadRecord)
        except UnicodeDecodeError:
            shown = _BEYOND_ASCII.sub(lambda byte: b"\\\\x%02x" % byte[0][0], record)
            read = msgspec.json.decode(shown, type=DeadRecord)
    except (ValueError, RecursionError) as error:
        why = Failure("unreadable", f"not a dead letter: {error}")
        read = DeadRecord(failure=why, message=record.decode("utf-8", "backslashreplace"))
    letter = DeadLetter(
        id=key,
        url="",
        spider="",
        callback="",
        attempts=read.attempts,
        worker=read.worker,
        died=read.died / 1000,
        failure=read.failure,
        message=read.message,
    )
    try:
        said = wire.peek(read.message.encode())
    except wire.JunkMessage:
        return letter
    return msgspec.structs.replace(
        letter,
        url=said.url,
        spider=said.spider,
        callback="" if said.is_later else said.extras.callback,
        host=host_of(said.url),
        deliveries=said.delivery + 1,
    )


def read_failing(url: bytes, record: bytes) -> Failing:
    """Read an entry of `failing`."""
    when, _, error = record.partition(b" ")
    return Failing(text(url), text(error), number(when) / 1000)


packed = msgspec.msgpack.Encoder().encode
"""Packs the named arguments of a script: text and no bytes, which the server's decoder does not read."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a lease ends, as `commit.lua` describes it."""

    kind: str
    host: str
    status: str = ""
    size: int = 0
    health: str = ""
    verdict: str = ""
    age: int | None = None
    is_unused: bool = False
    took: int | None = None
    pause: int = 0
    host_delay: int | None = None
    turn: int | None = None
    delay: int = 0
    counters: Mapping[str, int] = {}
    items: int = 0
    keys: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    links: int = 0
    failure: str = ""
    cause: str = ""
    close: str = ""
    filled: tuple[Noted, ...] = ()
    archived: str = ""


def failure_words(failure: Failure) -> str:
    """What failed, and in which line of the user's code."""
    where = f" ({failure.line})" if failure.line else ""
    return clean(f"{failure.message[:MAX_DETAIL]}{where}")


def ending(
    worker: str, lease: Lease, visit: Visit, now: float, turn: int | None = None
) -> tuple[Ending, tuple[bytes, bytes, bytes]]:
    """The arguments of `commit.lua` for one lease: by name, and as byte strings. `now` has the clock of `asked_at`;
    `turn`: ms until the group has its next turn, if the lease had one in another shard."""
    kind, delay, payload = outcome_arguments(worker, lease, visit.outcome)
    if isinstance(visit.outcome, Release) and visit.outcome.turn:
        turn = round(visit.outcome.turn * 1000)
    failure = visit.outcome.failure if isinstance(visit.outcome, (Retry, Dead)) else None
    # A dead or ignored page keeps its errback's items. A page that will be visited again brings them then.
    is_last = isinstance(visit.outcome, (Done, Dead, Skip, Step))
    items = visit.items if is_last else ()
    asked_at = None if visit.unasked else visit.asked_at
    named = Ending(
        kind=kind,
        host=lease.host,
        status="" if visit.status is None else str(visit.status),
        size=visit.size,
        health=visit.health,
        verdict=verdict(visit),
        age=None if asked_at is None else max(0, int((now - asked_at) * 1000)),
        is_unused=visit.unasked,
        took=int(visit.seconds * 1000) if visit.health else None,
        pause=int(visit.pause * 1000),
        host_delay=None if visit.host_delay is None else int(visit.host_delay * 1000),
        turn=turn,
        delay=int(delay * 1000),
        counters=counts(visit),
        items=len(items),
        keys=visit.item_keys if items else (),
        kinds=visit.item_kinds if items else (),
        links=len(visit.links),
        failure=failure_words(failure) if failure else "",
        cause=failure.kind if failure else "",
        close=visit.close,
        filled=tuple(map(noted, visit.filled)) if items else (),
        archived=visit.archived if is_last else "",
    )
    return named, (lease.message, b"\n".join(items), payload)


def outcome_arguments(worker: str, lease: Lease, outcome: Outcome) -> tuple[str, float, bytes]:
    """An outcome as a script takes it: the kind, the seconds to wait, and the new message or the dead letter."""
    match outcome:
        case Done():
            return "done", 0.0, b""
        case Step():
            return "step", 0.0, b""
        case Skip(reason=reason, detail=detail):
            return "skip", 0.0, f"{reason}\n{clean(detail)[:MAX_DETAIL]}".encode()
        case Retry(delay=delay):
            return "retry", delay, wire.again(lease.message, failed=1)
        case Release(delay=delay, turn=turn):
            return "early" if turn else "release", delay, wire.again(lease.message)
        case Dead(failure=failure, spent=spent):
            return "spent" if spent else "dead", 0.0, dead_record(worker, lease.message, failure)


def read_claim(reply: list[Any], epochs: Mapping[str, str], began: float, shard: int, shards: int) -> Claim:
    """Read the reply of `claim.lua`, called at `began` (monotonic seconds) in shard number `shard` of `shards`.
    `epochs` are those of the jobs in the call."""
    wait, idle, gone, _ = reply[:4]
    leases: list[Lease] = []
    junk: list[Junk] = []
    for job, messages in zip(reply[4::2], reply[5::2], strict=True):
        name = job.decode()
        for message in reversed(messages):  # the list begins with the newest
            read = _lease(name, epochs.get(name, ""), message, began)
            if isinstance(read, Lease) and shard_of(read.host, shards) != shard:
                read = Junk(name, message, f"a request of host {read.host} in a shard of other hosts")
            leases.append(read) if isinstance(read, Lease) else junk.append(read)
    return Claim(
        leases=tuple(leases),
        junk=tuple(junk),
        wait=None if wait < 0 else wait / 1000,
        idle=idle.decode(),
        gone=tuple(job.decode() for job in gone),
    )


def _lease(job: str, epoch: str, message: bytes, began: float) -> Lease | Junk:
    try:
        read = wire.decode(message)
    except wire.JunkMessage as error:
        return Junk(job, message, str(error), error.version)
    return Lease(
        job=job,
        request=read.request,
        message=message,
        host=host_of(read.url),
        attempt=read.attempt,
        delivery=read.delivery,
        claimed_at=began,
        epoch=epoch,
    )
