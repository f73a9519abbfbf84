"""The outbox on Redis: one stream for each shard, read in order and trimmed when all sinks have the items."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
import structlog

from crawler.errors import OutputError
from crawler.frontier.redis.errors import JobGone, errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.positions import latest, numbers, reaches, waiting
from crawler.frontier.redis.records import Unreadable, text
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import DEAD_ITEMS_KEPT
from crawler.model import DeadItem, Exported, Job, OutboxEntry
from crawler.runtime.safe_text import shown

log = structlog.get_logger()

POSITION = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class _Acknowledged(NamedTuple):
    """What has left the outbox, and what each sink has, by name."""

    exported: Exported = Exported()
    sinks: Mapping[str, Exported] = {}


class RedisOutbox:
    """Implements `Outbox`. `shards` are the prefixes of all shards."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards
        self._unreadable = Unreadable("outbox entry", "nothing to do: it is not a page's items, no sink gets it")
        self._durable: dict[str, dict[int, str]] = {}  # epoch → shard → last position known to be on the server's disk
        self._connections = 0  # of this process so far
        self._reconciled: dict[str, int] = {}  # epoch → connections when the server was last told what the sinks have
        self._known: dict[str, dict[int, str]] = {}  # epoch → shard → last position sent to the server, or got from it
        self._reconciling = asyncio.Lock()
        self._acknowledged: dict[str, _Acknowledged] = {}  # by epoch: what was acknowledged last

    def doubt(self) -> None:
        """React to a new connection: another server may answer, which lacks the last of what this process has read."""
        self._connections += 1

    async def _reconcile(self, job: Job, after: Mapping[int, str]) -> None:
        """Send the server the positions of the sinks, and repeat the last acknowledgement: once for each new
        connection, and when a sink has more than was read over it. `after`: what one of them has."""
        async with self._reconciling:
            last = self._acknowledged.get(job.epoch, _Acknowledged())
            positions = latest([after, last.exported.positions, *_positions(last.sinks)])
            connections = self._connections
            if self._reconciled.get(job.epoch) == connections and reaches(self._known[job.epoch], positions):
                return
            await self._tell(job, positions, last.exported)
            self._durable.pop(job.epoch, None)
            self._reconciled[job.epoch], self._known[job.epoch] = connections, positions
            if job.epoch in self._acknowledged:
                await self._acknowledge(job, last)

    async def _tell(self, job: Job, positions: Mapping[int, str], exported: Exported) -> None:
        """Tell the server the last positions that a sink has, and those that all have."""
        again = doubtful = 0
        for number, position in positions.items():
            prefix = job_prefix(self._shards[number], job.name)
            of_all = exported.positions.get(number, "0-0")
            with suppress(JobGone):  # the exporter notices this by itself
                counts = await self._server.run("reconcile", f"{prefix}outbox", prefix, job.epoch, position, of_all)
                again, doubtful = again + counts[0], doubtful + counts[1]
        if again or doubtful:
            why = "the queue server that answers now does not know that they were exported"
            log.warning("items_come_twice", job=job.name, pages=again, perhaps=doubtful, why=why)

    async def read(self, job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """XRANGE after the given positions. Returns when what it found is on the server's disk.

        What was read over one connection means nothing after another was made meanwhile: it is read again."""
        while True:
            await self._reconcile(job, after)
            entries = await self._read(job, after, limit)
            if not self._are_durable(job, entries):
                await self._wait_for_disk(job)
            if self._reconciled[job.epoch] == self._connections:
                read = {entry.shard: entry.position for entry in entries}
                self._known[job.epoch] = latest([self._known[job.epoch], read])
                return entries

    def _are_durable(self, job: Job, entries: Sequence[OutboxEntry]) -> bool:
        durable = self._durable.get(job.epoch, {})
        return all(numbers(entry.position) <= numbers(durable.get(entry.shard, "0-0")) for entry in entries)

    async def _wait_for_disk(self, job: Job) -> None:
        """Wait for everything that is in the outbox now: one wait serves many reads."""
        found = await asyncio.gather(*(self._last(job, shards) for shards in self._server.split(self._shards)))
        last = dict(pair for pairs in found for pair in pairs)
        self._durable[job.epoch] = {number: last[shard] for number, shard in enumerate(self._shards) if shard in last}

    async def _last(self, job: Job, shards: Sequence[str]) -> list[tuple[str, str]]:
        """(shard, last position) of the outboxes in these shards of one server, when they are on its disk."""
        outboxes = [f"{job_prefix(shard, job.name)}outbox" for shard in shards]
        commands = [("XREVRANGE", outbox, "+", "-", "COUNT", 1) for outbox in outboxes]
        replies = await self._server.synced(f"{shards[0]}mark", *commands)
        return [(shard, entries[0][0].decode()) for shard, entries in zip(shards, replies, strict=True) if entries]

    async def _read(self, job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        pipeline = self._server.pipeline()
        for number, shard in enumerate(self._shards):
            start = f"({after[number]}" if number in after else "-"
            pipeline.xrange(f"{job_prefix(shard, job.name)}outbox", min=start, count=limit)
        with errors(self._server.shown):
            replies = await pipeline.execute()
        return [
            self._entry(number, position, fields)
            for number, entries in enumerate(replies)
            for position, fields in entries
        ]

    def _entry(self, shard: int, position: bytes, fields: Mapping[bytes, bytes]) -> OutboxEntry:
        items = self._items(position, fields)
        return OutboxEntry(
            shard,
            position.decode(),
            items,
            _text(fields, b"u"),
            _text(fields, b"s"),
            archived=text(fields.get(b"w")),
            kinds=_kinds(fields, len(items)),
            only_for=text(fields.get(b"t")),
        )

    def _items(self, position: bytes, fields: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
        """The items of one entry; none if one of its lines is not a JSON object and would break the sink's lines."""
        if b"w" in fields and not fields.get(b"i"):
            return ()
        lines = fields.get(b"i", b"").split(b"\n")
        try:
            for line in lines:
                _check_item(line)
        except (ValueError, RecursionError) as error:
            self._unreadable.met(position.decode(), f"{error}: {text(fields.get(b'i'))[:200]!r}")
            return ()
        return tuple(lines)

    async def acknowledge(self, job: Job, exported: Exported, sinks: Mapping[str, Exported] = {}) -> None:
        """Note the positions, then XTRIM the entries up to and including those that all sinks have."""
        self._acknowledged[job.epoch] = _Acknowledged(exported, sinks)
        await self._reconcile(job, exported.positions)
        await self._acknowledge(job, self._acknowledged[job.epoch])

    async def _acknowledge(self, job: Job, last: _Acknowledged) -> None:
        pipeline, exported = self._server.pipeline(), last.exported
        pipeline.set(self._key(job, "sinks"), msgspec.json.encode(last.sinks))
        noted = {"location": exported.location, "inode": exported.inode, **_by_number(exported.positions)}
        pipeline.hset(self._key(job, "exported"), mapping=noted)
        for sink, its in last.sinks.items():
            if its.values_left_out:  # so many in all: a repeated call counts once
                pipeline.hset(self._key(job, "stats"), f"values_left_out/{shown(sink)}", its.values_left_out)
        for number, position in exported.positions.items():
            milliseconds, sequence = numbers(position)
            beyond = f"{milliseconds}-{sequence + 1}"
            pipeline.xtrim(f"{job_prefix(self._shards[number], job.name)}outbox", minid=beyond, approximate=False)
        with errors(self._server.shown):
            await pipeline.execute()

    async def exported(self, job: Job) -> Exported:
        """Read the hash that `acknowledge` wrote."""
        with errors(self._server.shown):
            found: dict[bytes, bytes] = await self._server.at(self._shards[0]).hgetall(self._key(job, "exported"))
        location, inode = text(found.pop(b"location", b"")), int(found.pop(b"inode", b"0"))
        return Exported({int(shard): text(at) for shard, at in found.items()}, location, inode)

    async def sinks(self, job: Job) -> dict[str, Exported]:
        """Read what `acknowledge` wrote."""
        with errors(self._server.shown):
            return read_sinks(await self._server.at(self._shards[0]).get(self._key(job, "sinks")))

    async def waiting(self, job: Job, after: Mapping[int, str]) -> int:
        """Count them by their positions."""
        return await waiting(self._server, self._shards, job, after)

    def _key(self, job: Job, name: str) -> str:
        return f"{job_prefix(self._shards[0], job.name)}{name}"

    async def leave_behind(self, job: Job, sink: str, pages: int) -> None:
        """Set the counter, so that a repeated call counts once."""
        key = self._key(job, "stats")
        with errors(self._server.shown):
            await self._server.at(key).hset(key, f"left_behind/{sink}", pages)

    async def keep_dead(self, job: Job, items: Sequence[DeadItem]) -> None:
        """Write them into a hash, and wait for the disk: the sink goes on without them."""
        key = self._key(job, "dead_items")
        with errors(self._server.shown):
            there = await self._server.at(key).hlen(key)
        if there >= DEAD_ITEMS_KEPT:
            raise OutputError(
                f"{there:,} items of job {job.name} could not be stored, which is as many as are kept; {items[0].why}"
            )
        commands = [("HSET", key, item.id, msgspec.json.encode(item)) for item in items]
        await self._server.synced(f"{self._shards[0]}mark", *commands)

    async def hold(self, job: Job, exporter: str, seconds: float) -> str:
        """Write the exporter's name into a key with a time limit."""
        holder: bytes = await self._server.run("exporter", self._key(job, "exporter"), exporter, int(seconds * 1000))
        return text(holder)

    async def holder(self, job: Job) -> str:
        """Read the key that names the exporter."""
        with errors(self._server.shown):
            return text(await self._server.at(self._shards[0]).get(self._key(job, "exporter")))


def read_sinks(record: bytes | None) -> dict[str, Exported]:
    """Read what each sink has, by the location that its target names; empty for bytes that cannot be read."""
    try:
        return msgspec.json.decode(record or b"{}", type=dict[str, Exported])
    except (ValueError, RecursionError):
        return {}


def _by_number(positions: Mapping[int, str]) -> dict[str, str]:
    return {str(shard): position for shard, position in positions.items()}


def _positions(sinks: Mapping[str, Exported]) -> Iterator[Mapping[int, str]]:
    return (its.positions for its in sinks.values())


def _check_item(line: bytes) -> None:
    """Raise `ValueError` for a line that is not a JSON object, or that has blanks around it."""
    _read_object(line)
    if line[:1] != b"{" or line[-1:] != b"}":
        raise ValueError("blanks around it")
    if not line.isascii():
        line.decode()  # the decoder above checks the UTF-8 of the keys alone


def _kinds(fields: Mapping[bytes, bytes], number: int) -> tuple[str, ...]:
    """The names of the items' classes; none if it is not one for each."""
    kinds = tuple(text(fields.get(b"k")).split("\n")) if b"k" in fields else ()
    return kinds if len(kinds) == number else ()


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str:
    """A text that a script has taken out of a message, where it stood between quotation marks."""
    try:
        return _read_text(b'"%b"' % fields.get(name, b""))
    except ValueError:
        return ""


_read_text = msgspec.json.Decoder(str).decode
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
