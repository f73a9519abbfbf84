"""Reads the state of jobs and workers from a Redis frontier. Reads only a few keys of each shard and writes none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import msgspec
from msgspec.structs import replace

from crawler.control.rules import block_of, pauses_in
from crawler.errors import ReplicasMissing
from crawler.frontier.redis.closing import closed_at, read_limits, reason_in
from crawler.frontier.redis.control import RedisControl
from crawler.frontier.redis.coverage import read_coverage
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.hosts import FIELDS, read_turn
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.outbox import read_sinks
from crawler.frontier.redis.positions import waiting
from crawler.frontier.redis.records import number, text
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.times import frontier_ms
from crawler.frontier.rules import PAUSES_SHOWN, RESTS_SHOWN
from crawler.model import Exported, Job, Limits
from crawler.status import Coverage, HostView, JobStats, Lag, Pause, WorkerInfo

# fields of the stats hash that are not counters for people
_PLUMBING = ("epoch", "buckets", "admitted", "finished", "handed_out", "seeded", "lined")
_MARKS = ("marks", "redirected", "again")
_CLOSING = ("closed", "opened", "quota", "taken", "returned")
_LATER = "later/"  # followed by a version: the number of messages of that version that wait
_STATES = ("known", "pending", "processing", "done", "dead", "dropped")


class RedisViews:
    """Implements `Reading`. `shards` are the prefixes of all shards."""

    def __init__(self, server: Server, shards: Sequence[str], control: RedisControl) -> None:
        self._server = server
        self._shards = shards
        self._control = control

    async def stats(self, job: Job) -> JobStats:
        """Read the job's state. A job is finished once replicas know it: a fail-over could undo what ended it."""
        stats = await self._stats(job)
        if not (stats.finished and self._server.barrier.replicas):
            return stats
        try:
            await self._behind_barrier()
        except ReplicasMissing:
            return replace(stats, finished=False)
        return await self._stats(job)

    async def coverage(self, job: Job) -> list[Coverage]:
        """Add up what the shards have counted."""
        found: dict[bytes, Coverage] = {}
        for shard in self._shards:
            for key, one in (await self._coverage_in(job_prefix(shard, job.name))).items():
                found[key] = found[key].plus(one) if key in found else one
        return sorted(found.values(), key=lambda one: (one.callback, one.kind))

    async def _coverage_in(self, prefix: str) -> dict[bytes, Coverage]:
        found = await self._server.run("coverage", f"{prefix}coverage", prefix)
        with errors(self._server.shown):
            lacking = await self._server.at(prefix).hgetall(f"{prefix}lacking") if found else {}
        return {
            key: read_coverage(key, record, window, lacking)
            for key, record, window in zip(found[::3], found[1::3], found[2::3], strict=True)
        }

    async def waits_for(self) -> str:
        """Ask each server for its replicas."""
        try:
            await self._behind_barrier()
        except ReplicasMissing as error:
            return str(error)
        return ""

    async def _behind_barrier(self) -> None:
        for shards in self._server.split(self._shards) if self._server.barrier.replicas else ():
            await self._server.write(f"{shards[0]}mark")

    async def _stats(self, job: Job) -> JobStats:
        """The order of the reads proves `finished`: seeders, all `finished`, all `admitted`."""
        seeders, finished = await self._read_ends(job)
        exporter, limits, sinks, dead_items = await self._read_single(job)
        rules = await self._control.rules()
        shards = [await self._read_shard(shard, job) for shard in self._shards]
        counters: Counter[str] = Counter()
        for shard in shards:
            counters.update({name: int(number(value)) for name, value in shard["stats"].items() if name != "epoch"})
        closed = [text(shard["stats"].get("closed")) for shard in shards]
        admitted = counters["admitted"]
        states: Mapping[str, Any] = {name: counters[name] for name in _STATES}
        return JobStats(
            job=job.name,
            spider=job.spider,
            **states,
            outbox=sum(shard["outbox"] for shard in shards),
            exporter=exporter,
            outputs=await self._lags(job, sinks, sum(shard["outbox"] for shard in shards)),
            dead_items=dead_items,
            seeding=seeders,
            ready=sum(shard["ready"] for shard in shards),
            asking=sum(shard["asking"] for shard in shards),
            cooling=sum(shard["cooling"] for shard in shards) + counters["lined"],
            failing=sum(shard["failing"] for shard in shards),
            delayed=sum(shard["delayed"] for shard in shards),
            paused=pauses_in(rules, job.name)
            + read_pauses(job.name, (line for shard in shards for line in shard["paused"].items())),
            blocked=block_of(rules, job.name),
            held=sum(shard["held"] for shard in shards),
            other_callbacks={name: url for shard in shards for name, url in shard["others"].items()},
            at=time.time(),
            resting=_resting(one for shard in shards for one in shard["waiting"]),
            is_pacing=any(shard["lined"] or not all(one.turn.rest for one in shard["waiting"]) for shard in shards),
            next_due=min((shard["due"] for shard in shards if shard["due"] is not None), default=None),
            finished=(admitted == finished and not seeders and (admitted > 0 or counters["seeded"] > 0))
            or (all(closed) and not states["processing"]),
            closed=reason_in(min(filter(None, closed), key=closed_at, default="")),
            limits=limits,
            later=_later(counters),
            counters={
                name: count
                for name, count in sorted(counters.items())
                if name not in _PLUMBING
                and name not in _MARKS
                and name not in _CLOSING
                and name not in _STATES
                and not name.startswith(_LATER)
            },
        )

    async def _read_ends(self, job: Job) -> tuple[int, int]:
        """(seeders at work, requests that have ended); must be read first."""
        client = self._server.at(self._shards[0])
        now = await frontier_ms(self._server, self._shards[0])
        with errors(self._server.shown):
            seeders = await client.zcount(f"{job_prefix(self._shards[0], job.name)}seeders", now, "+inf")
            pipeline = self._server.pipeline()
            for shard in self._shards:
                pipeline.hget(f"{job_prefix(shard, job.name)}stats", "finished")
            return seeders, sum(int(number(value)) for value in await pipeline.execute())

    async def _lags(self, job: Job, sinks: Mapping[str, Exported], in_outbox: int) -> tuple[Lag, ...]:
        """How many pages wait for each sink: for the only one, all that there are."""
        if len(sinks) < 2 or not in_outbox:
            return tuple(Lag(name, in_outbox) for name in sinks)
        pages = [await waiting(self._server, self._shards, job, its.positions) for its in sinks.values()]
        return tuple(map(Lag, sinks, pages))

    async def _read_single(self, job: Job) -> tuple[str, Limits, Mapping[str, Exported], int]:
        """What the first shard alone has: the exporter, the limits, what each sink has, how many items are dead."""
        prefix = job_prefix(self._shards[0], job.name)
        pipeline = self._server.pipeline().get(f"{prefix}exporter").hgetall(f"{prefix}budget")
        pipeline.get(f"{prefix}sinks").hlen(f"{prefix}dead_items")
        with errors(self._server.shown):
            exporter, budget, sinks, dead_items = await pipeline.execute()
        limits = read_limits({text(name): value for name, value in budget.items()})
        return text(exporter), limits, read_sinks(sinks), dead_items

    async def _read_shard(self, shard: str, job: Job) -> dict[str, Any]:
        prefix, now = job_prefix(shard, job.name), await frontier_ms(self._server, shard)
        pipeline = self._server.pipeline()
        pipeline.hgetall(f"{prefix}stats")
        pipeline.xlen(f"{prefix}outbox")
        pipeline.zcount(f"{prefix}hosts", "-inf", now)
        pipeline.zcount(f"{prefix}hosts", f"({now}", "+inf")
        pipeline.zcard(f"{prefix}delayed")
        pipeline.hlen(f"{prefix}failing")
        pipeline.zcard(f"{prefix}held")
        pipeline.hgetall(f"{prefix}others")
        pipeline.hlen(f"{shard}asking")
        pipeline.hget(f"{prefix}paused", f"job {job.name}")
        pipeline.hrandfield(f"{prefix}paused", PAUSES_SHOWN, withvalues=True)
        pipeline.zrange(f"{prefix}hosts", 0, 0, withscores=True)
        pipeline.zrange(f"{prefix}groups", 0, 0, withscores=True)
        pipeline.zrange(f"{prefix}delayed", 0, 0, withscores=True)
        pipeline.zrevrange(f"{prefix}hosts", 0, RESTS_SHOWN - 1)
        with errors(self._server.shown):
            (
                stats,
                outbox,
                ready,
                cooling,
                delayed,
                failing,
                held,
                others,
                asking,
                whole,
                some,
                *firsts,
                last,
            ) = await pipeline.execute()
        waiting = dict.fromkeys([*(host for host, _ in firsts[0]), *last])
        dues = [max(0.0, (float(first[0][1]) - now) / 1000) for first in firsts if first]
        return {
            "stats": {text(key): value for key, value in stats.items()},
            "outbox": outbox,
            "ready": ready,
            "cooling": cooling,
            "delayed": delayed,
            "failing": failing,
            "held": held,
            "others": {key.decode("utf-8", "replace"): url.decode("utf-8", "replace") for key, url in others.items()},
            "asking": asking,
            "paused": {**_pairs(some), **({f"job {job.name}".encode(): whole} if whole else {})},
            "due": min(dues, default=None),
            "waiting": await self._turns(shard, waiting, now),
            "lined": bool(firsts[1]),
        }

    async def _turns(self, shard: str, hosts: Iterable[bytes], now: int) -> list[HostView]:
        """The turns of these hosts; their pending requests are not counted."""
        names = [text(host) for host in hosts]
        pipeline = self._server.pipeline()
        for name in names:
            pipeline.hmget(f"{shard}host:{name}", FIELDS)
        with errors(self._server.shown):
            ledgers = await pipeline.execute() if names else []
        return [HostView(name, 0, read_turn(ledger, now)) for name, ledger in zip(names, ledgers, strict=True)]

    async def workers(self) -> list[WorkerInfo]:
        """Read the workers of the first shard: every worker sends its heartbeat to all shards."""
        shard = self._shards[0]
        client = self._server.at(shard)
        now = await frontier_ms(self._server, shard)
        with errors(self._server.shown):
            known = await client.zrange(f"{shard}workers", 0, -1, withscores=True)
            pipeline = client.pipeline(transaction=False)
            for worker, _ in known:
                pipeline.hget(shard.encode() + b"worker:" + worker, "info")
            infos = await pipeline.execute() if known else []
        return [
            WorkerInfo(text(worker), (float(until) - now) / 1000, _info(info))
            for (worker, until), info in zip(known, infos, strict=True)
        ]


def _resting(hosts: Iterable[HostView]) -> tuple[HostView, ...]:
    """Those that rest, the longest first."""
    return tuple(sorted((one for one in hosts if one.turn.rest), key=lambda one: (-one.turn.rest, one.host)))


def _later(counters: Mapping[str, int]) -> dict[int, int]:
    """Version → the number of messages of it that wait for a worker that knows it."""
    versions = {name.removeprefix(_LATER): count for name, count in counters.items() if name.startswith(_LATER)}
    return {int(version): count for version, count in versions.items() if version.isdecimal() and count > 0}


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_pauses(job: str, found: Iterable[tuple[bytes, bytes]]) -> tuple[Pause, ...]:
    """Read the pauses within a job, one for each subject: a spider may be paused in several shards."""
    pauses: dict[tuple[str, str], Pause] = {}
    for subject, value in found:
        what, _, name = text(subject).partition(" ")
        since, _, why = value.partition(b" ")
        pauses.setdefault((what, name), Pause(what, name, text(why), number(since) / 1000, job))
    return tuple(sorted(pauses.values(), key=lambda pause: pause.since))


class _Info(TypedDict, total=False):
    """The fields of a worker's info that some command reads (see `Tally.info`)."""

    pages: int
    in_flight: int
    idle: str
    rss: int
    jobs: list[str]
    no_spider: dict[str, dict[str, str]]
    status: dict[str, int]
    job_hosts: dict[str, dict[str, tuple[int, float]]]
    rates: dict[str, float]


def _info(value: bytes | None) -> Mapping[str, Any]:
    """Read a worker's info; empty if it has sent none or cannot be read."""
    try:
        msgspec.json.decode(value or b"{}", type=_Info)
        return msgspec.json.decode(value or b"{}", type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}
