"""Reads the host ledger of a Redis frontier; never more hosts than requested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from crawler.frontier.message import ledger_host
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.records import number, text
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.times import frontier_ms
from crawler.model import Job
from crawler.status import HostTurn, HostView

FIELDS = ("next", "inflight", "delay", "group", "rest", "busy", "failures", "latency", "cause")


def read_turn(
    values: Sequence[bytes | None], now: float, group_next: bytes | None = None, asker: bytes | None = None
) -> HostTurn:
    """Convert the `FIELDS` of a host's ledger, `next` of its group's ledger, and the host's entry in `asking`. `now` is
    the frontier's time in ms."""
    due, inflight, delay, group, rest, busy, failures, latency, cause = values
    times, asked, kind = read_cause(text(cause))
    return HostTurn(
        wait=max(_left(due, now), _left(group_next, now)),
        inflight=int(number(inflight)),
        delay=number(delay) / 1000,
        group=text(group),
        rest=_left(rest, now),
        backoff=int(number(busy)),
        failures=int(number(failures)),
        latency=number(latency) / 1000,
        cause=kind,
        rests=times,
        asked_for_rest=asked,
        asking=text(b"".join((asker or b"").split(b"\n")[1:2])),
    )


def read_cause(value: str) -> tuple[int, bool, str]:
    """Read the field `cause`: how often in a row the host has been put to rest, whether it said for how long, why."""
    times, _, rest = value.partition(" ")
    asked, _, kind = rest.partition(" ")
    return int(number(times.encode())), asked == "1", kind


def _left(time: bytes | None, now: float) -> float:
    return max(0.0, (number(time) - now) / 1000)


class RedisHosts:
    """Implements `Hosts`. `shards` are the prefixes of all shards."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards

    async def hosts(self, job: Job, limit: int = 100) -> list[HostView]:
        """Return the hosts in the order of their next turns."""
        found = [view for shard in self._shards for view in await self._in_shard(shard, job, limit)]
        return sorted(found, key=lambda view: (view.turn.wait, view.host))[:limit]

    async def _in_shard(self, shard: str, job: Job, limit: int) -> list[HostView]:
        prefix = job_prefix(shard, job.name)
        client = self._server.at(shard)
        now = await frontier_ms(self._server, shard)
        asked = await self._asked(shard, limit)
        names = list(dict.fromkeys([*(host for _, host in asked), *await self._waiting(shard, prefix, asked, limit)]))
        turns = await self._turns(shard, names, now)
        with errors(self._server.shown):
            held = {text(host) for host in await client.zrange(f"{prefix}held", 0, limit - 1)}
        pending = await self._pending(prefix, names)
        views = [
            HostView(name, its, turn, held=name in held) for name, its, turn in zip(names, pending, turns, strict=True)
        ]
        return [view for view in views if view.pending or (job.name, view.host) in asked]

    async def _asked(self, shard: str, limit: int) -> set[tuple[str, str]]:
        """(job, host) of the requests in flight of all jobs: hosts at their cap are listed nowhere else."""
        client = self._server.at(shard)
        with errors(self._server.shown):
            workers = [text(worker) for worker in await client.zrange(f"{shard}workers", 0, -1)]
            pipeline = self._server.pipeline()
            for worker in workers:
                pipeline.smembers(f"{shard}worker:{worker}:jobs")
            their_jobs = [[text(job) for job in jobs] for jobs in await pipeline.execute()]
            lists_of = [(worker, job) for worker, jobs in zip(workers, their_jobs, strict=True) for job in jobs]
            for worker, job in lists_of:
                pipeline.lrange(f"{job_prefix(shard, job)}processing:{worker}", 0, limit - 1)
            lists = await pipeline.execute()
        return {(job, ledger_host(one)) for (_, job), found in zip(lists_of, lists, strict=True) for one in found}

    async def _waiting(self, shard: str, prefix: str, asked: Iterable[tuple[str, str]], limit: int) -> list[str]:
        """The hosts that may be asked next, stand in the line of their group, or are paused."""
        client = self._server.at(shard)
        with errors(self._server.shown):
            groups = await client.zrange(f"{prefix}groups", 0, limit - 1)
        groups += [group for (group,) in await self._ledgers(shard, [host for _, host in asked], ["group"]) if group]
        groups += [host.encode() for _, host in asked]  # a literal address is also the name of its group
        with errors(self._server.shown):
            pipeline = self._server.pipeline()
            for key in ("hosts", *(f"line:{text(group)}" for group in dict.fromkeys(groups)), "held"):
                pipeline.zrange(f"{prefix}{key}", 0, limit - 1)
            return [text(host) for hosts in await pipeline.execute() for host in hosts]

    async def _turns(self, shard: str, hosts: Sequence[str], now: float) -> list[HostTurn]:
        ledgers = await self._ledgers(shard, hosts, FIELDS)
        groups = sorted({text(ledger[3]) for ledger in ledgers if ledger[3]})
        due = dict(zip(groups, (each[0] for each in await self._ledgers(shard, groups, ["next"])), strict=True))
        askers = await self._askers(shard, hosts)
        return [
            read_turn(ledger, now, due.get(text(ledger[3])), asker)
            for ledger, asker in zip(ledgers, askers, strict=True)
        ]

    async def _askers(self, shard: str, hosts: Sequence[str]) -> list[bytes | None]:
        with errors(self._server.shown):
            return list(await self._server.at(shard).hmget(f"{shard}asking", hosts)) if hosts else []

    async def _ledgers(self, shard: str, names: Iterable[str], fields: Sequence[str]) -> list[Any]:
        pipeline = self._server.pipeline()
        for name in names:
            pipeline.hmget(f"{shard}host:{name}", fields)
        with errors(self._server.shown):
            return list(await pipeline.execute())

    async def _pending(self, prefix: str, hosts: Sequence[str]) -> list[int]:
        """The number of pending requests of each host, over all priorities."""
        if not hosts:
            return []
        client = self._server.at(prefix)
        with errors(self._server.shown):
            levels = [text(its or b"0").split() for its in await client.hmget(f"{prefix}levels", hosts)]
            pipeline = self._server.pipeline()
            for host, its in zip(hosts, levels, strict=True):
                for level in its:
                    pipeline.llen(f"{prefix}pending:{level}:{host}")
            lengths = iter(await pipeline.execute())
        return [sum(next(lengths) for _ in its) for its in levels]
