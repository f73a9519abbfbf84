"""The frontier on Redis or Valkey: every transition is one script in `lua/`, on the shard of its host."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import msgspec

from crawler.control.rules import trace_with
from crawler.errors import FrontierFull, FrontierReplaced, FrontierUnavailable
from crawler.frontier.redis.adding import RedisAdding
from crawler.frontier.redis.commits import RedisCommits
from crawler.frontier.redis.control import RedisControl
from crawler.frontier.redis.dead import RedisDead
from crawler.frontier.redis.held import RedisHeld
from crawler.frontier.redis.hosts import RedisHosts
from crawler.frontier.redis.jobs import RedisJobs
from crawler.frontier.redis.keys import job_prefix, shard_of
from crawler.frontier.redis.outbox import RedisOutbox
from crawler.frontier.redis.records import outcome_arguments, packed, read_claim, text
from crawler.frontier.redis.server import JobGone, Server
from crawler.frontier.redis.shared import RedisShared
from crawler.frontier.redis.tracing import RedisTraces
from crawler.frontier.redis.views import RedisViews
from crawler.frontier.rules import REAP_CHUNK
from crawler.interfaces import Pace
from crawler.model import Added, Claim, Dead, Failure, Job, Junk, Lease, Reaped, Request, Retry, Visit
from crawler.parsing.url import host_of
from crawler.status import DeadLetter, HostView, JobStats, Trace, WorkerInfo


class RedisFrontier:
    """Implements `Frontier`. The values are those of the settings of the same name."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "crawler",
        shards: int = 1,
        lease_seconds: float = 15.0,
        max_crashes: int = 20,
        outbox_limit: int = 10_000,
        exploding_share: float = 0.5,
        exploding_min: int = 20,
        timeout: float = 5.0,
        client_name: str = "crawler",
    ) -> None:
        self.server = Server(url, timeout=timeout, name=client_name)
        self._prefix = prefix
        self._asked_shards = shards
        self._shards: list[str] = []  # P of each
        self.server.connected = self._doubt
        self._lease_ms = int(lease_seconds * 1000)
        self._max_crashes = max_crashes
        self._outbox_limit = outbox_limit
        self._exploding = (exploding_share, exploding_min)
        self._claim_tokens: dict[tuple[str, int], str] = {}  # (worker, shard) → that of a claim without an answer
        self._first_shard = 0
        self.outbox = RedisOutbox(self.server, self._shards)
        self._jobs = RedisJobs(self.server, self._shards)
        self._adding = RedisAdding(self.server, self._shards, self._jobs)
        self._held = RedisHeld(self.server, self._shards)
        self._commits = RedisCommits(self.server, self._shards, self._jobs, self._adding, self._held, self._exploding)
        self._shared = RedisShared(self.server, self._shard_for)
        self.control = RedisControl(self.server, self._shards)
        self._views = RedisViews(self.server, self._shards, self.control)
        self._hosts = RedisHosts(self.server, self._shards)
        self._dead = RedisDead(self.server, self._shards)
        self._traces = RedisTraces(self.server, self._dead)

    # --- opening

    async def open(self) -> None:
        """Connect; adopt the shard count and name the frontier was created with."""
        await self.server.open()
        await self._jobs.open(self._prefix, self._asked_shards)

    async def close(self) -> None:
        """Close the connections."""
        await self.server.close()

    def _doubt(self) -> None:
        """A server that was started again may have lost its last second: what it knew then must be asked anew."""
        self._adding.doubt()
        self._held.doubt()

    async def durable(self) -> None:
        """Wait for the server's disk, where the server can tell."""
        await self.server.synced(f"{self._shards[0]}mark")

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self._shards)

    # --- jobs

    async def create_job(self, job: Job) -> Job:
        """See `jobs.py`."""
        return await self._jobs.create(job)

    async def jobs(self) -> list[Job]:
        """See `jobs.py`."""
        return await self._jobs.all()

    async def delete_job(self, name: str) -> bool:
        """See `jobs.py`."""
        return await self._jobs.delete(name)

    # --- adding

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """See `adding.py`."""
        return await self._adding.add(job, requests, seed=seed)

    def maybe_new(self, job: Job, requests: Sequence[Request]) -> Sequence[Request]:
        """See `adding.py`."""
        return self._adding.maybe_new(job, requests)

    def maybe_new_urls(self, job: Job, urls: Sequence[str]) -> Sequence[str]:
        """See `adding.py`."""
        return self._adding.maybe_new_urls(job, urls)

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """See `adding.py`."""
        return await self._adding.in_scope(job, hosts)

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """See `adding.py`."""
        await self._adding.seeding(job, seeder, seconds)

    # --- working

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """Ask the shards in turn, beginning with another one each time, until the limit is reached."""
        self._jobs.known.update((job.name, job) for job in jobs)
        if self._held.is_in_doubt(worker) and all(name != worker for name, _ in self._claim_tokens):
            given_back = await self._held.given_back(worker, await self.jobs(), limit)
            if given_back is not None:
                return given_back
        self._first_shard = (self._first_shard + 1) % self.shards
        total = Claim(idle="empty")
        for offset in range(self.shards):
            room = limit - len(total.leases) - len(total.junk)
            if room <= 0:
                break
            try:
                part = await self._claim_from((self._first_shard + offset) % self.shards, worker, room, jobs, pace)
            except (FrontierUnavailable, FrontierFull):
                if not total.leases and not total.junk:
                    raise
                break  # what we hold must be worked on; the next call says again what is wrong
            total = _merge(total, part)
        if total.gone:
            reason = await self._jobs.forgotten(self._jobs.known[total.gone[0]])
            if isinstance(reason, FrontierReplaced):
                raise reason
        self._held.take(worker, total)
        return total

    def _epochs(self) -> dict[str, str]:
        return {name: job.epoch for name, job in self._jobs.known.items()}

    async def _claim_from(self, shard: int, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        prefix = self._shards[shard]
        token = self._claim_tokens.pop((worker, shard), "") or secrets.token_hex(8)
        named = {
            "P": prefix,
            "worker": worker,
            "token": token,
            "limit": limit,
            "lease": self._lease_ms,
            "delay": int(pace.delay * 1000),
            "jitter": pace.jitter,
            "cap": pace.concurrency,
            "target": pace.target,
            "longest": int(pace.longest * 1000),
            "outbox_limit": self._outbox_limit,
            "random": random.randrange(1, 2**31 - 1),
            "jobs": [{"name": job.name, "epoch": job.epoch} for job in jobs],
        }
        began = time.monotonic()
        try:
            reply = await self.server.run("claim", f"{prefix}workers", packed(named))
        except FrontierUnavailable:
            self._claim_tokens[worker, shard] = token  # the reply may have been lost: ask for the same again
            raise
        return read_claim(reply, self._epochs(), began, shard, self.shards)

    async def place(self, host: str, group: str) -> float:
        """In the host's shard: the hosts of a group that lie in other shards know nothing of it."""
        prefix = self._shard_for(host)
        return float(await self.server.run("place", f"{prefix}host:{host}", prefix, host, group)) / 1000

    async def take_host(self, worker: str, lease: Lease) -> bool:
        """In the host's shard."""
        prefix = self._shard_for(lease.host)
        arguments = (prefix, lease.host, lease.job, worker, lease.message)
        return bool(await self.server.run("take", f"{prefix}asking", *arguments))

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """See `commits.py`."""
        return await self._commits.commit(worker, visits, pace)

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """See `commits.py`."""
        return await self._commits.bury(worker, job, message, failure)

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """See `commits.py`."""
        return await self._commits.set_aside(worker, job, message, delay)

    # --- leases

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the lease in every shard; what the worker says of itself goes to the first."""
        text = msgspec.json.encode(info)
        for number, shard in enumerate(self._shards):
            self.server.run_in_thread(
                "beat", f"{shard}workers", shard, worker, self._lease_ms, text if number == 0 else b"{}"
            )

    async def reap(self, worker: str | None = None, *, blame: tuple[Lease, Retry | Dead] | None = None) -> list[Reaped]:
        """Run the script on each shard until it finds nothing more."""
        found: dict[str, Reaped] = {}
        for shard in self._shards:
            while True:
                named: dict[str, Any] = {
                    "P": shard,
                    "worker": worker or "",
                    "max_crashes": self._max_crashes,
                    "budget": REAP_CHUNK,
                    "share": self._exploding[0],
                    "least": self._exploding[1],
                }
                messages: list[bytes] = []
                if worker is not None and blame is not None:
                    named["blame"], messages = _blamed(worker, *blame)
                reply = await self.server.run("reap", f"{shard}workers", packed(named), *messages)
                if not reply:
                    break
                name = text(reply[0])
                requeued, dead, more = reply[1:]
                before = found.get(name, Reaped(name))
                found[name] = Reaped(name, before.requeued + requeued, before.dead + dead)
                if worker is not None and not more:
                    break
        return list(found.values())

    # --- looking

    async def stats(self, job: Job) -> JobStats:
        """See `views.py`."""
        return await self._views.stats(job)

    async def hosts(self, job: Job, limit: int = 100) -> list[HostView]:
        """See `hosts.py`."""
        return await self._hosts.hosts(job, limit)

    async def workers(self) -> list[WorkerInfo]:
        """See `views.py`."""
        return await self._views.workers()

    async def trace(self, job: Job, url: str) -> Trace:
        """See `tracing.py`."""
        try:
            trace = await self._traces.trace(self._shard_for(host_of(url)), job, url)
            return trace_with(trace, await self.control.rules(), job.name)
        except JobGone:
            raise await self._jobs.forgotten(job) from None

    # --- the dead

    def each_dead(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        """See `dead.py`."""
        return self._dead.each(job, ids)

    async def dead_letters(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        """See `dead.py`."""
        return await self._dead.newest(job, limit)

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        """See `dead.py`."""
        return await self._dead.redrive(job, ids)

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        """See `dead.py`."""
        return await self._dead.drop(job, ids)

    # --- pauses

    async def pause(self, job: Job, what: str, name: str, why: str) -> bool:
        """In every shard: a spider's pages are in all of them."""
        return await self._pause(job, what, name, why)

    async def resume(self, job: Job, what: str, name: str) -> bool:
        """In every shard."""
        return await self._pause(job, what, name, "")

    async def _pause(self, job: Job, what: str, name: str, why: str) -> bool:
        shards = [self._shard_for(name)] if what == "host" else self._shards
        changed = 0
        for shard in shards:
            prefix = job_prefix(shard, job.name)
            changed += await self.server.run("pause", f"{prefix}paused", prefix, job.epoch, f"{what} {name}", why)
        return changed > 0

    # --- small values of the fleet

    async def get_shared(self, key: str) -> bytes | None:
        """See `shared.py`."""
        return await self._shared.get(key)

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """See `shared.py`."""
        await self._shared.put(key, value, seconds)

    def _shard_for(self, key: str) -> str:
        return self._shards[shard_of(key, self.shards)]


def _blamed(worker: str, lease: Lease, outcome: Retry | Dead) -> tuple[dict[str, Any], list[bytes]]:
    """What `reap.lua` takes for the request that the worker died of: by name, and as byte strings."""
    _, delay, payload = outcome_arguments(worker, lease, outcome)
    kind = "retry" if isinstance(outcome, Retry) else "dead"  # also of `spent`: here no host is to blame
    return {"job": lease.job, "kind": kind, "delay": int(delay * 1000)}, [lease.message, payload]


def _merge(total: Claim, part: Claim) -> Claim:
    waits = [wait for wait in (total.wait, part.wait) if wait is not None]
    idle = part.idle if total.idle in ("empty", "") else total.idle
    return Claim(
        leases=total.leases + part.leases,
        junk=total.junk + part.junk,
        wait=min(waits) if waits else None,
        idle=idle,
        gone=tuple(dict.fromkeys(total.gone + part.gone)),
    )


__all__ = ["Junk", "RedisFrontier"]
