"""Which hosts share their turns on Redis, and the turns of groups whose hosts lie in several shards."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.jobs import RedisJobs
from crawler.frontier.redis.keys import shard_of
from crawler.frontier.redis.records import packed, text
from crawler.frontier.redis.server import Server
from crawler.interfaces import DEFAULT_PACE, Joined, Pace
from crawler.model import Lease, Visit

_Named = tuple[str, bytes]  # job and message of a lease


class RedisLedger:
    """Implements `Ledger`. The shard that a group's name leads to is its home, which keeps the turns of all its hosts.
    A host in another shard needs a claim in its own shard and then a turn at the group's home.

    `shards` are the prefixes of all shards.
    """

    def __init__(self, server: Server, shards: Sequence[str], jobs: RedisJobs, *, lease_seconds: float) -> None:
        self._server = server
        self._shards = shards
        self._jobs = jobs
        self._lease_ms = int(lease_seconds * 1000)
        # By worker: its leases that have a turn at a group's home, or may have one, and the number of that shard.
        self._turns: dict[str, dict[_Named, int]] = defaultdict(dict)
        self._connections = 0  # of this process so far
        self._compared: dict[str, int] = {}  # worker → connections when its turns were last compared

    def _home(self, name: str) -> int:
        return shard_of(name, len(self._shards))

    async def join(self, host: str, group: str, job: str = "", pace: Pace = DEFAULT_PACE) -> Joined:
        """Run the script in the host's shard."""
        home = self._home(host)
        prefix = self._shards[home]
        named = {"host": host, "group": group, "jobs": list(self._jobs.known), "job": job, **_turn(prefix, home, pace)}
        milliseconds, has_turn = await self._server.run("join", f"{prefix}host:{host}", packed(named))
        return Joined(milliseconds / 1000, bool(has_turn))

    async def take_turn(self, worker: str, lease: Lease, group: str, pace: Pace) -> float:
        """Run the script in the group's home, unless the host lies there, so that the claim has booked its turn."""
        home, own = self._home(group), self._home(lease.host)
        if not group or home == own:
            return 0.0
        prefix, name = self._shards[home], (lease.job, lease.message)
        named = {
            "worker": worker,
            "host": lease.host,
            "group": group,
            "id": _id(name),
            "lease": self._lease_ms,
            **_turn(prefix, own, pace),
        }
        self._compared.setdefault(worker, self._connections)
        turns = self._turns[worker]
        turns[name] = home  # before the call, whose reply may be lost
        wait: int = await self._server.run("turn", f"{prefix}workers", packed(named))
        if wait:
            del turns[name]
        return wait / 1000

    async def end_turns(self, worker: str, visits: Iterable[tuple[Lease, Visit]]) -> Mapping[_Named, int]:
        """End the turns of these leases. Return for each that had one: the ms until its group has the next turn."""
        turns = self._turns.get(worker)
        if not turns:
            return {}
        ending: defaultdict[int, dict[_Named, dict[str, Any]]] = defaultdict(dict)
        now = self._server.clock()
        for lease, visit in visits:
            name = (lease.job, lease.message)
            if name in turns:
                age = None if visit.unasked or visit.asked_at is None else max(0, int((now - visit.asked_at) * 1000))
                turn = {"id": _id(name), "job": lease.job, "age": age, "is_unused": visit.unasked}
                ending[turns[name]][name] = turn
        waits: dict[_Named, int] = {}
        for home, its in ending.items():
            waits.update(zip(its, await self._end(worker, home, list(its.values())), strict=True))
            for name in its:
                del turns[name]
        return waits

    def doubt(self) -> None:
        """React to a new connection: a server may have lost the ends of turns."""
        self._connections += 1

    async def end_lost(self, worker: str) -> None:
        """After a new connection, end all turns that the worker no longer has."""
        connections = self._connections
        if self._compared.get(worker, connections) == connections:
            return
        for home in range(len(self._shards)):
            await self._end_lost(worker, home)
        self._compared[worker] = connections

    async def _end_lost(self, worker: str, home: int) -> None:
        key = self._key(worker, home)
        with errors(self._server.shown):
            booked = [text(id) for id in await self._server.at(key).hkeys(key)]
        has = {_id(name) for name in self._turns[worker]}  # read after them: visits go on taking turns
        # The host may have been asked a moment ago.
        lost = [{"id": id, "job": "", "age": 0, "is_unused": False} for id in booked if id not in has]
        if lost:
            await self._end(worker, home, lost)

    async def _end(self, worker: str, home: int, turns: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        arguments = packed({"P": self._shards[home], "turns": turns})
        waits: Sequence[int] = await self._server.run("end_turns", self._key(worker, home), arguments)
        return waits

    def _key(self, worker: str, home: int) -> str:
        return f"{self._shards[home]}worker:{worker}:turns"


def _turn(prefix: str, shard: int, pace: Pace) -> dict[str, Any]:
    """What scripts that book a turn take by name: the prefix where they run, the host's shard, and the pace."""
    return {
        "P": prefix,
        "shard": str(shard),
        "delay": int(pace.delay * 1000),
        "jitter": pace.jitter,
        "cap": pace.concurrency,
        "random": random.randrange(1, 2**31 - 1),
    }


def _id(name: _Named) -> str:
    job, message = name
    return blake2b(job.encode() + b"\n" + message, digest_size=12).hexdigest()
