"""Timetables on Redis: one record for each schedule, which one script replaces."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crawler.errors import FrontierReplaced
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.records import Unreadable, text
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.times import wall_seconds
from crawler.program import PROGRAM
from crawler.schedules.timetable import Timetable, problems


class RedisSchedules:
    """Implements `Schedules`. `shards` and `identity` are what `adopt` returned."""

    def __init__(self, server: Server, shards: Sequence[str], identity: bytes) -> None:
        self._server = server
        self._shard = shards[0]
        self._key = f"{shards[0]}schedules"
        self._id_key = f"{shards[0]}id"
        self._id = identity
        self._unreadable = Unreadable("schedule", f"delete it with `{PROGRAM} schedule remove NAME`")

    async def now(self) -> float:
        """Ask the server."""
        return await wall_seconds(self._server, self._shard)

    async def all(self) -> list[Timetable]:
        """Read the hash. Raise `FrontierReplaced` if the server is not the one that was opened."""
        with errors(self._server.shown):
            pipeline = self._server.pipeline()
            identity, records = await pipeline.get(self._id_key).hgetall(self._key).execute()
        if identity != self._id:
            raise FrontierReplaced(
                f"the queue server {self._server.shown} was emptied or replaced: its schedules are gone"
            )
        found = [self._readable(text(name), record) for name, record in sorted(records.items())]
        return [table for table in found if table is not None]

    async def get(self, name: str) -> Timetable | None:
        """Read one field of the hash."""
        with errors(self._server.shown):
            record = await self._server.at(self._key).hget(self._key, name)
        return None if record is None else self._readable(name, record)

    async def replace(self, before: Timetable | None, after: Timetable) -> bool:
        """Run the script. Only the decision about a tick must wait for its time."""
        is_decision = before is not None and after.last != before.last
        record = after.revision.encode() + b" " + msgspec.json.encode(after)
        revision, due = before.revision if before else "", after.last * 1000 if is_decision else 0
        arguments = (after.name, revision, record, due)
        return bool(await self._server.run("schedule", self._key, *arguments, barrier=True))

    async def remove(self, name: str) -> bool:
        """Delete the field."""
        (removed,) = await self._server.write(self._key, ("HDEL", self._key, name))
        return bool(removed)

    def _readable(self, name: str, record: bytes) -> Timetable | None:
        try:
            return _read(name, record)
        except (ValueError, RecursionError) as error:
            self._unreadable.met(name, error)
            return None


def _read(name: str, record: bytes) -> Timetable:
    """Read and check a timetable. Raise `ValueError` for bytes that are not the one of that schedule."""
    revision, _, fields = record.partition(b" ")
    table = msgspec.json.decode(fields, type=Timetable)
    if table.name != name or table.revision != text(revision):
        raise ValueError(f"it is the record of schedule {table.name!r}, revision {table.revision!r}")
    if wrong := problems(table.schedule):
        raise ValueError("; ".join(wrong))
    return table
