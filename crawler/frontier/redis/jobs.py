"""The registry of jobs on Redis: creates, lists and deletes jobs, and detects a replaced server."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from crawler.errors import ConfigError, FrontierError, FrontierReplaced, UsageError
from crawler.frontier.redis.errors import JobGone, errors
from crawler.frontier.redis.keys import check_job_name, job_prefix, several, shard_prefix, spread
from crawler.frontier.redis.records import Unreadable, text
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.times import wall_seconds
from crawler.frontier.rules import MAX_EPOCH, MAX_SHARDS, SHARDS_PER_MASTER
from crawler.model import Job
from crawler.program import PROGRAM

log = structlog.get_logger()

_UNREADABLE = (ValueError, RecursionError, UsageError)


async def adopt(server: Server, prefix: str, shards: int) -> tuple[tuple[str, ...], bytes]:
    """The prefixes of the shards and the frontier's random name; creates the frontier if there is none, with `shards`
    shards (0: as many as suit the server).

    Raises `ConfigError` for another number of shards than the frontier has, and `FrontierError` if the stored number is
    not valid.
    """
    first = shard_prefix(prefix, 0)
    client = server.at(first)
    with errors(server.shown):
        number, identity = await client.mget(f"{first}shards", f"{first}id")
        if number is None or identity is None:
            suitable = SHARDS_PER_MASTER * len(server.masters()) if server.is_cluster else 1
            new = {"shards": shards or suitable, "id": secrets.token_hex(8)}
            await server.write(first, *(("SET", f"{first}{name}", value, "NX") for name, value in new.items()))
            number, identity = await client.mget(f"{first}shards", f"{first}id")
    if not number.isdigit() or not 0 < int(number[:5]) <= MAX_SHARDS:
        raise FrontierError(f"{server.shown}: {first}shards holds {number[:50]!r}, not a number of shards")
    if shards not in (0, int(number)):
        raise ConfigError(
            f"SHARDS={shards}: the frontier {prefix!r} on {server.shown} was created with {int(number)}, for good: of "
            "known URLs it has fingerprints, which do not tell the host, so nobody can move them to other shards. "
            "Leave SHARDS out, or take another KEY_PREFIX and crawl anew"
        )
    prefixes = spread(prefix, int(number)) if server.is_cluster else several(prefix, int(number))
    await server.adopt(prefixes)
    idle = len(server.masters()) - len(server.split(prefixes))
    if idle > 0:
        why = f"{idle} of {len(server.masters())} masters have none of the {len(prefixes)} shards; SHARDS is fixed"
        log.warning("masters_without_shards", server=server.shown, why=why)
    return prefixes, identity


class RedisJobs:
    """Implements `Jobs`. `shards` and `identity` are what `adopt` returned; `known` holds the jobs seen, by name."""

    def __init__(self, server: Server, shards: Sequence[str], identity: bytes) -> None:
        self._server = server
        self._shards = shards
        self._id = identity
        self._unreadable = Unreadable("job", f"delete it with `{PROGRAM} jobs delete NAME`, or repair its record")
        self.known: dict[str, Job] = {}

    def note(self, jobs: Iterable[Job]) -> None:
        """Count these jobs as seen."""
        self.known.update((job.name, job) for job in jobs)

    async def forgotten(self, job: Job) -> FrontierError:
        """The error that says why the server does not know this job: the server was replaced or the job was deleted."""
        with errors(self._server.shown):
            identity = await self._server.at(self._shards[0]).get(f"{self._shards[0]}id")
        if identity != self._id:
            return FrontierReplaced(
                f"the queue server {self._server.shown} was emptied or replaced: it has lost job {job.name!r}; "
                "this crawl cannot go on, seed it again with --fresh"
            )
        return JobGone(f"job {job.name!r} was deleted")

    async def create(self, job: Job) -> Job:
        """Create the job, or return the existing one of that name."""
        check_job_name(job.name)
        client, registry = self._server.at(self._shards[0]), f"{self._shards[0]}jobs"
        with errors(self._server.shown):
            is_half_deleted = await client.sismember(f"{self._shards[0]}deleted", job.name)
        if is_half_deleted:
            await self.delete(job.name)  # finish a deletion that was interrupted
        created = await wall_seconds(self._server, self._shards[0])
        new = msgspec.structs.replace(job, epoch=job.epoch or secrets.token_hex(8), created=created)
        with errors(self._server.shown):
            await self._server.write(registry, ("HSETNX", registry, job.name, msgspec.json.encode(new)))
            try:
                job = _read(job.name, await client.hget(registry, job.name))
            except _UNREADABLE as error:
                raise FrontierError(
                    f"{self._server.shown}: the record of job {job.name!r} cannot be read: {error}; "
                    f"`{PROGRAM} jobs delete {job.name}` removes it with all its state"
                ) from None
            for shard in self._shards:  # also completes an interrupted creation
                stats = f"{job_prefix(shard, job.name)}stats"
                ours = {"buckets": 1, "epoch": job.epoch}
                await self._server.write(stats, *(("HSETNX", stats, *field) for field in ours.items()))
        self.note([job])
        return job

    async def all(self) -> list[Job]:
        """All jobs, oldest first."""
        with errors(self._server.shown):
            identity, records = await (
                self._server.pipeline().get(f"{self._shards[0]}id").hgetall(f"{self._shards[0]}jobs").execute()
            )
        if identity != self._id:
            raise FrontierReplaced(f"the queue server {self._server.shown} was emptied or replaced: its jobs are gone")
        jobs = []
        for name, record in records.items():
            try:
                jobs.append(_read(text(name), record))
            except _UNREADABLE as error:
                self._unreadable.met(text(name), error)
        jobs.sort(key=lambda job: job.created)
        self.note(jobs)
        return jobs

    async def delete(self, name: str) -> bool:
        """Run the `forget` script in each shard, then remove the job's keys."""
        client = self._server.at(self._shards[0])
        with errors(self._server.shown):
            known = await client.hexists(f"{self._shards[0]}jobs", name)
        for number, shard in enumerate(self._shards):
            prefix = job_prefix(shard, name)
            await self._server.run("forget", f"{prefix}stats", shard, prefix, "" if number else name, barrier=True)
            await self._remove(prefix)
            await self._server.write(f"{prefix}stats")
        with errors(self._server.shown):
            await client.hdel(f"{self._shards[0]}jobs", name)
            await client.srem(f"{self._shards[0]}deleted", name)
        self.known.pop(name, None)
        return bool(known)

    async def _remove(self, prefix: str) -> None:
        """Remove the keys of a job in one shard."""
        client = None
        with errors(self._server.shown):
            while client is not self._server.at(prefix):  # a scan names no key: it is not redirected
                client = self._server.at(prefix)
                async for key in client.scan_iter(match=f"{_escape(prefix)}*", count=1000):
                    await client.unlink(key)
                await client.exists(f"{prefix}stats")  # finds out where they are now


def _read(name: str, record: bytes) -> Job:
    """Read and check a job's record. Raises one of `_UNREADABLE` for bytes that are not the record of that job."""
    job = msgspec.json.decode(record, type=Job)
    check_job_name(job.name)
    if job.name != name:
        raise ValueError(f"it is the record of job {job.name!r}")
    if not 0 < len(job.epoch.encode()) <= MAX_EPOCH:
        raise ValueError("it has no epoch")
    return job


def _escape(pattern: str) -> str:
    """Convert a key to a literal MATCH pattern."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in pattern)
