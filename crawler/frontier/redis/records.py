"""Between our values and what the scripts take and return."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import structlog

from crawler.frontier import message as wire
from crawler.frontier.redis.keys import shard_of
from crawler.frontier.rules import MAX_DETAIL
from crawler.model import Claim, Dead, Done, Failure, Junk, Lease, Outcome, Release, Retry, Skip, Visit
from crawler.parsing.charset import clean
from crawler.parsing.url import host_of
from crawler.policy import counts, verdict
from crawler.status import DeadLetter

log = structlog.get_logger()

MAX_SAID = 1_000  # lines about things that cannot be read
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_NUMBER = re.compile(rb"-?[0-9]{1,18}(?:\.[0-9]{1,20})?").fullmatch


def text(value: bytes | None) -> str:
    """What the server holds as text; nothing is empty, and bytes that are none become U+FFFD."""
    return (value or b"").decode("utf-8", "replace")


def number(value: bytes | None) -> float:
    """What the server holds as a number; 0 where anything else stands, as `as_number` in the scripts."""
    return float(value) if value and _NUMBER(value) else 0.0


class Unreadable:
    """Says once of each thing in the server that it cannot be read, and is left out for that. Nothing else stops."""

    def __init__(self, what: str, then: str) -> None:
        """`what`: a job, a rule …; `then`: what a person can do."""
        self._what = what
        self._then = then
        self._said: set[str] = set()

    def met(self, name: str, why: object) -> None:
        """This one, for that reason."""
        if name not in self._said and len(self._said) < MAX_SAID:
            self._said.add(name)
            log.warning("unreadable", what=self._what, name=name, why=str(why), then=self._then)


class DeadRecord(msgspec.Struct, frozen=True):
    """A dead letter as it is stored; the script adds `died`. What the message says is not stored twice."""

    attempts: Annotated[int, msgspec.Meta(ge=0)] = 0
    worker: str = ""
    failure: Failure = Failure("unknown", "")
    message: str = ""
    died: Annotated[float, msgspec.Meta(ge=0, lt=1e14)] = 0  # the server's clock, ms


def dead_record(worker: str, message: bytes, failure: Failure) -> bytes:
    """The JSON of a dead letter, without its time: the script puts that in front."""
    try:
        attempts = wire.decode(message).attempt + 1
    except wire.JunkMessage:
        attempts = 0
    shown = message.decode("utf-8", "backslashreplace")
    record = {"attempts": attempts, "worker": worker, "failure": failure, "message": shown}
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:  # lone surrogates: headers and pages hold them, and so do errors that quote them
        words = {name: clean(value) for name, value in msgspec.structs.asdict(failure).items() if type(value) is str}
        return msgspec.json.encode({**record, "failure": msgspec.structs.replace(failure, **words)})


def read_dead(key: str, record: bytes) -> DeadLetter:
    """A dead letter as it is stored. A script's own may hold bytes that are no text: they are shown as `\\xff`.

    What is no letter at all is shown as one of the kind `unreadable`, with its bytes as the message."""
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


packed = msgspec.msgpack.Encoder().encode
"""Named arguments of a script. Text alone, and no bytes: the server's decoder does not know them."""


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
    delay: int = 0
    counters: Mapping[str, int] = {}
    items: int = 0


def ending(worker: str, lease: Lease, visit: Visit, now: float) -> tuple[Ending, tuple[bytes, bytes, bytes]]:
    """What `commit.lua` takes for one lease: by name, and as byte strings. `now`: of the clock of `asked_at`."""
    kind, delay, payload = outcome_arguments(worker, lease, visit.outcome)
    # A page that is given up has an errback's items; one that will come again brings them then.
    items = visit.items if isinstance(visit.outcome, (Done, Dead)) else ()
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
        delay=int(delay * 1000),
        counters=counts(visit),
        items=len(items),
    )
    return named, (lease.message, b"\n".join(items), payload)


def outcome_arguments(worker: str, lease: Lease, outcome: Outcome) -> tuple[str, float, bytes]:
    """What becomes of a lease, for a script: the kind, the seconds to wait, and the new message or the dead letter."""
    match outcome:
        case Done():
            return "done", 0.0, b""
        case Skip(reason=reason, detail=detail):
            return "skip", 0.0, f"{reason}\n{clean(detail)[:MAX_DETAIL]}".encode()
        case Retry(delay=delay):
            return "retry", delay, wire.again(lease.message, failed=1)
        case Release(delay=delay):
            return "release", delay, wire.again(lease.message)
        case Dead(failure=failure, spent=spent):
            return "spent" if spent else "dead", 0.0, dead_record(worker, lease.message, failure)


def read_claim(reply: list[Any], epochs: Mapping[str, str], began: float, shard: int, shards: int) -> Claim:
    """The reply of `claim.lua`, called at `began` (monotonic seconds) in that shard of so many; `epochs` of the jobs it
    was asked for."""
    wait, idle, gone = reply[:3]
    leases: list[Lease] = []
    junk: list[Junk] = []
    for job, messages in zip(reply[3::2], reply[4::2], strict=True):
        name = job.decode()
        for message in reversed(messages):  # newest first in the list
            read = _lease(name, epochs.get(name, ""), message, began)
            if isinstance(read, Lease) and shard_of(read.host, shards) != shard:
                read = Junk(name, message, f"a request of host {read.host} in a shard that is not its own")
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
