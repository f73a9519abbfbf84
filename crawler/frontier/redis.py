"""The frontier on Redis or Valkey: every transition is one script in `lua/`, on the shard of its host."""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from crawler.errors import FrontierError, FrontierFull, FrontierReplaced, FrontierUnavailable
from crawler.frontier import message as wire
from crawler.frontier.control import RedisControl
from crawler.frontier.dead import RedisDead
from crawler.frontier.held import RedisHeld
from crawler.frontier.hosts import RedisHosts
from crawler.frontier.keys import check_job_name, job_prefix, shard_of, shard_prefix
from crawler.frontier.known import KnownUrls, is_simple
from crawler.frontier.outbox import RedisOutbox
from crawler.frontier.records import commit_arguments, dead_record, read_claim
from crawler.frontier.server import JobGone, Server, errors
from crawler.frontier.tracing import RedisTraces
from crawler.frontier.views import RedisViews
from crawler.interfaces import Pace
from crawler.model import (
    Added,
    Claim,
    DeadLetter,
    Failure,
    HostView,
    Job,
    JobStats,
    Junk,
    Lease,
    Reaped,
    Request,
    Trace,
    Visit,
    WorkerInfo,
)
from crawler.parsing.url import dedup_key, fingerprint, host_of
from crawler.rules import trace_with

ADD_CHUNK = 1000  # messages of one host pushed at once (Lua's unpack has room for some thousand)
REAP_CHUNK = 200  # requests moved in one script
MAX_KNOWN = 200_000  # URLs of all jobs that this process remembers to be known; some 200 bytes each


class RedisFrontier:
    """Implements `Frontier`. The values are those of the settings of the same name."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "crawler",
        shards: int = 1,
        lease_seconds: float = 15.0,
        attempts: int = 3,
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
        self._attempts = attempts
        self._max_crashes = max_crashes
        self._outbox_limit = outbox_limit
        self._exploding = (exploding_share, exploding_min)
        self._id = b""
        self._jobs: dict[str, Job] = {}
        self._known: dict[str, KnownUrls] = {}  # by epoch, used last last
        # Of calls without an answer: (worker, shard) → token; (worker, shard, epoch) → (leases, token).
        self._claim_tokens: dict[tuple[str, int], str] = {}
        self._commit_tokens: dict[tuple[str, int, str], tuple[bytes, str]] = {}
        # What a repeated call must know of the first: epoch → (requests, words);
        # worker → (shard, epoch, leases) → answers.
        self._adds: dict[str, tuple[Sequence[Request], list[str]]] = {}
        self._answers: dict[str, dict[tuple[int, str, bytes], list[bool]]] = defaultdict(dict)
        self._first_shard = 0
        self.outbox = RedisOutbox(self.server, self._shards)
        self._held = RedisHeld(self.server, self._shards)
        self.control = RedisControl(self.server, self._shards)
        self._views = RedisViews(self.server, self._shards, self.control)
        self._hosts = RedisHosts(self.server, self._shards)
        self._dead = RedisDead(self.server, self._shards)
        self._traces = RedisTraces(self.server, self._dead)

    # --- opening

    async def open(self) -> None:
        """Connect; adopt the shard count and name the frontier was created with."""
        await self.server.open()
        first = shard_prefix(self._prefix, 0)
        client = self.server.client
        with errors(self.server.shown):
            await client.set(f"{first}shards", self._asked_shards, nx=True)
            await client.set(f"{first}id", secrets.token_hex(8), nx=True)
            shards, self._id = await client.mget(f"{first}shards", f"{first}id")
        self._shards[:] = [shard_prefix(self._prefix, shard) for shard in range(int(shards))]

    async def close(self) -> None:
        """Close the connections."""
        await self.server.close()

    def _doubt(self) -> None:
        """A server that was started again may have lost its last second: what it knew then must be asked anew."""
        self._known.clear()
        self._held.doubt()

    async def durable(self) -> None:
        """Wait for the server's disk, where the server can tell."""
        await self.server.synced(f"{self._shards[0]}mark")

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self._shards)

    async def _forgotten(self, job: Job) -> FrontierError:
        """Why the server does not know this job: it was replaced, or somebody deleted the job."""
        with errors(self.server.shown):
            identity = await self.server.client.get(f"{self._shards[0]}id")
        if identity != self._id:
            return FrontierReplaced(
                f"the queue server {self.server.shown} was emptied or replaced: it has lost job {job.name!r}; "
                "nothing more can be done for this crawl, seed it again with --fresh"
            )
        return JobGone(f"job {job.name!r} was deleted")

    # --- jobs

    async def create_job(self, job: Job) -> Job:
        """Create it, or return the one of that name."""
        check_job_name(job.name)
        if job.name in await self._being_deleted():
            await self.delete_job(job.name)  # whoever began it was interrupted
        client, registry = self.server.client, f"{self._shards[0]}jobs"
        with errors(self.server.shown):
            seconds, micros = await client.time()
            new = msgspec.structs.replace(
                job, epoch=job.epoch or secrets.token_hex(8), created=seconds + micros / 1_000_000
            )
            await client.hsetnx(registry, job.name, msgspec.json.encode(new))
            job = msgspec.json.decode(await client.hget(registry, job.name), type=Job)
            for shard in self._shards:  # repeated when a creation was cut short
                stats = f"{job_prefix(shard, job.name)}stats"
                await client.hsetnx(stats, "buckets", 1)
                await client.hsetnx(stats, "epoch", job.epoch)
        self._jobs[job.name] = job
        return job

    async def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        with errors(self.server.shown):
            identity, records = await (
                self.server.client.pipeline(transaction=False)
                .get(f"{self._shards[0]}id")
                .hvals(f"{self._shards[0]}jobs")
                .execute()
            )
        if identity != self._id:
            raise FrontierReplaced(f"the queue server {self.server.shown} was emptied or replaced: its jobs are gone")
        jobs = sorted((msgspec.json.decode(record, type=Job) for record in records), key=lambda job: job.created)
        self._jobs.update((job.name, job) for job in jobs)
        return jobs

    async def _being_deleted(self) -> set[str]:
        with errors(self.server.shown):
            return {name.decode() for name in await self.server.client.smembers(f"{self._shards[0]}deleted")}

    async def delete_job(self, name: str) -> bool:
        """Forget it in one step a shard, then remove its keys."""
        client = self.server.client
        with errors(self.server.shown):
            known = await client.hexists(f"{self._shards[0]}jobs", name)
            await client.sadd(f"{self._shards[0]}deleted", name)
        for shard in self._shards:
            prefix = job_prefix(shard, name)
            await self.server.run("forget", f"{prefix}stats", shard, prefix)
            with errors(self.server.shown):
                async for key in client.scan_iter(match=f"{_escape(prefix)}*", count=1000):
                    await client.unlink(key)
        with errors(self.server.shown):
            await client.hdel(f"{self._shards[0]}jobs", name)
            await client.srem(f"{self._shards[0]}deleted", name)
        self._jobs.pop(name, None)
        return bool(known)

    # --- adding

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """Push the unknown ones. `dont_filter` ones are new every time, but not when a call is repeated."""
        before, words = self._adds.pop(job.epoch, ((), []))
        if before != requests:
            words = [secrets.token_hex(8) if request.dont_filter else "" for request in requests]
        try:
            return await self._add(job, list(zip(requests, words, strict=True)), seed=seed)
        except (FrontierUnavailable, FrontierFull):
            self._adds[job.epoch] = (requests, words)
            raise

    async def _add(self, job: Job, requests: Sequence[tuple[Request, str]], *, seed: bool = False) -> Added:
        """`requests` come with a word that makes a `dont_filter` request different from others of its URL."""
        known = self._known.get(job.epoch, KnownUrls())
        fresh = [pair for pair in requests if seed or not is_simple(pair[0]) or pair[0].url not in known]
        new = 0
        for shard, arguments in self._batches(job, fresh):
            prefix = job_prefix(shard, job.name)
            try:
                new += await self.server.run(
                    "add", f"{prefix}stats", shard, prefix, job.epoch, job.order, int(seed), *arguments
                )
            except JobGone:
                raise await self._forgotten(job) from None
        if not seed:
            self._remember(job, [request.url for request, _ in fresh if is_simple(request)])
        return Added(new, len(requests) - new)

    def _remember(self, job: Job, urls: Sequence[str]) -> None:
        known = self._known.pop(job.epoch, None) or KnownUrls()
        known.update(urls)
        self._known[job.epoch] = known
        while len(self._known) > 1 and sum(map(len, self._known.values())) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def _batches(self, job: Job, requests: Iterable[tuple[Request, str]]) -> Iterable[tuple[str, list[Any]]]:
        """Per shard: the argument groups of `add.lua`."""
        secret = job.epoch.encode()
        groups: dict[tuple[int, str, int, int], list[Any]] = defaultdict(list)
        for request, word in requests:
            host = host_of(request.url)
            key = dedup_key(request.url)
            if request.method != "GET" or request.body:
                key = f"{request.method} {key} {blake2b(request.body, digest_size=8).hexdigest()}"
            if request.dont_filter:
                key = f"{word} {key}"
            group = groups[shard_of(host, self.shards), host, request.priority, int(request.delay * 1000)]
            group += (fingerprint(key, secret), wire.encode(request, word if request.dont_filter else ""))
        by_shard: dict[int, list[Any]] = defaultdict(list)
        for (shard, host, priority, delay), entries in groups.items():
            for at in range(0, len(entries), 2 * ADD_CHUNK):
                part = entries[at : at + 2 * ADD_CHUNK]
                by_shard[shard] += (host, priority, delay, len(part) // 2, *part)
        return [(self._shards[shard], arguments) for shard, arguments in by_shard.items()]

    def maybe_new(self, job: Job, requests: Sequence[Request]) -> Sequence[Request]:
        """Without those of which this process remembers that they were added."""
        known = self._known.get(job.epoch)
        return requests if known is None else known.without(requests)

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """Ask the shard of each host."""
        pipeline = self.server.client.pipeline(transaction=False)
        for host in hosts:
            pipeline.sismember(f"{job_prefix(self._shards[shard_of(host, self.shards)], job.name)}scope", host)
        with errors(self.server.shown):
            return [bool(found) for found in await pipeline.execute()]

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """Note in the first shard until when a seeder is believed to be at work."""
        prefix = job_prefix(self._shards[0], job.name)
        try:
            await self.server.run("seeding", f"{prefix}seeders", prefix, job.epoch, seeder, int(seconds * 1000))
        except JobGone:
            raise await self._forgotten(job) from None

    # --- working

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """Ask the shards in turn, beginning with another one each time, until the limit is reached."""
        self._jobs.update((job.name, job) for job in jobs)
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
            reason = await self._forgotten(self._jobs[total.gone[0]])
            if isinstance(reason, FrontierReplaced):
                raise reason
        self._held.take(worker, total)
        return total

    def _epochs(self) -> dict[str, str]:
        return {name: job.epoch for name, job in self._jobs.items()}

    async def _claim_from(self, shard: int, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        prefix = self._shards[shard]
        token = self._claim_tokens.pop((worker, shard), "") or secrets.token_hex(8)
        names = [word for job in jobs for word in (job.name, job.epoch)]
        began = time.monotonic()
        try:
            reply = await self.server.run(
                "claim",
                f"{prefix}workers",
                prefix,
                worker,
                token,
                limit,
                int(pace.delay * 1000),
                pace.jitter,
                pace.concurrency,
                self._lease_ms,
                self._outbox_limit,
                random.randrange(1, 2**31 - 1),
                pace.target,
                int(pace.longest * 1000),
                *names,
            )
        except FrontierUnavailable:
            self._claim_tokens[worker, shard] = token  # the reply may have been lost: ask for the same again
            raise
        return read_claim(reply, self._epochs(), began)

    async def place(self, host: str, group: str) -> float:
        """In the host's shard: the hosts of a group that lie in other shards know nothing of it."""
        prefix = self._shard_for(host)
        return float(await self.server.run("place", f"{prefix}host:{host}", prefix, host, group)) / 1000

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """Links first; then, shard by shard, items and acknowledgement."""
        by_job: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (lease, _) in enumerate(visits):
            by_job[lease.job, lease.epoch].append(number)
        accepted = [False] * len(visits)
        for (name, epoch), numbers in by_job.items():
            if name not in self._jobs:
                await self.jobs()
            job = self._jobs.get(name)
            if job is None or job.epoch != epoch:
                continue  # deleted meanwhile
            try:
                links = [link for number in numbers for link in _links(*visits[number])]
                await self._add(job, [link for link in links if link[0].depth > 0])
                await self._add(job, [link for link in links if link[0].depth == 0], seed=True)  # a seed's redirect
                await self._commit_job(worker, job, visits, numbers, pace, accepted)
            except JobGone:
                reason = await self._forgotten(job)
                if isinstance(reason, FrontierReplaced):
                    raise reason from None
        self._answers.pop(worker, None)
        self._held.end(worker, [(lease.job, lease.message) for lease, _ in visits])
        return accepted

    async def _commit_job(
        self,
        worker: str,
        job: Job,
        visits: Sequence[tuple[Lease, Visit]],
        numbers: Sequence[int],
        pace: Pace,
        accepted: list[bool],
    ) -> None:
        by_shard: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            by_shard[shard_of(visits[number][0].host, self.shards)].append(number)
        for shard, part in by_shard.items():
            # A call that is repeated because another shard did not answer must not be taken for a late one here.
            call = (shard, job.epoch, b"".join(visits[number][0].message for number in part))
            answers = self._answers[worker]
            if call not in answers:
                arguments = [value for number in part for value in commit_arguments(worker, *visits[number])]
                answers[call] = await self._run_commit(worker, job, shard, arguments, pace)
            for number, answer in zip(part, answers[call], strict=True):
                accepted[number] = answer

    async def _run_commit(self, worker: str, job: Job, shard: int, arguments: Sequence[Any], pace: Pace) -> list[bool]:
        prefix = self._shards[shard]
        # A repeated commit of the same leases must get the first one's answer: it carries the first one's token.
        leases = b"".join(arguments[1::16])
        key = (worker, shard, job.epoch)
        before, token = self._commit_tokens.pop(key, (b"", ""))
        if before != leases:
            token = secrets.token_hex(8)
        try:
            reply = await self.server.run(
                "commit",
                f"{job_prefix(prefix, job.name)}processing:{worker}",
                prefix,
                worker,
                job.name,
                job.epoch,
                token,
                int(pace.delay * 1000),
                *self._exploding,
                int(pace.backoff * 1000),
                int(pace.patience * 1000),
                pace.target,
                int(pace.longest * 1000),
                *arguments,
            )
        except FrontierUnavailable:
            self._commit_tokens[key] = (leases, token)
            raise
        return [byte == 0x31 for byte in reply]

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """To the dead letters, bytes and all."""
        record = dead_record(worker, message, failure)
        return await self._commit_raw(worker, job, message, "junk", 0.0, record)

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """Back to pending unchanged, for a worker that knows the version."""
        return await self._commit_raw(worker, job, message, "aside", delay, message)

    async def _commit_raw(self, worker: str, job: Job, message: bytes, kind: str, delay: float, payload: bytes) -> bool:
        host = wire.ledger_host(message)
        arguments = [kind, message, host, -1, 0, "", -1, -1, "", 0, int(delay * 1000), "", 0, b"", "", payload]
        (accepted,) = await self._run_commit(worker, job, shard_of(host, self.shards), arguments, Pace())
        self._held.end(worker, [(job.name, message)])
        return accepted

    # --- leases

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the lease in every shard; what the worker says of itself goes to the first."""
        text = msgspec.json.encode(info)
        for number, shard in enumerate(self._shards):
            self.server.run_in_thread(
                "beat", f"{shard}workers", shard, worker, self._lease_ms, text if number == 0 else b"{}"
            )

    async def reap(
        self, worker: str | None = None, *, blame: Lease | None = None, failure: Failure | None = None
    ) -> list[Reaped]:
        """Run the script on each shard until it finds nothing more."""
        found: dict[str, Reaped] = {}
        for shard in self._shards:
            while True:
                blamed = self._blame(worker, blame, failure)
                arguments = [worker or "", self._max_crashes, REAP_CHUNK, *self._exploding, *blamed]
                reply = await self.server.run("reap", f"{shard}workers", shard, *arguments)
                if not reply:
                    break
                name = reply[0].decode()
                requeued, dead, more = reply[1:]
                before = found.get(name, Reaped(name))
                found[name] = Reaped(name, before.requeued + requeued, before.dead + dead)
                if worker is not None and not more:
                    break
        return list(found.values())

    def _blame(self, worker: str | None, lease: Lease | None, failure: Failure | None) -> list[Any]:
        if worker is None or lease is None:
            return []
        failure = failure or Failure("crash", "its worker process died while parsing it")
        if lease.attempt + 1 >= self._attempts:
            record = dead_record(worker, lease.message, failure, attempts=lease.attempt + 1)
            return [lease.job, lease.message, "dead", 0, record]
        return [lease.job, lease.message, "retry", 1000 * 2**lease.attempt, wire.again(lease.message, failed=1)]

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
            raise await self._forgotten(job) from None

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
        """Read it."""
        with errors(self.server.shown):
            value: bytes | None = await self.server.client.get(f"{self._shard_for(key)}shared:{key}")
        return value

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Write it and let go of its lock."""
        shard = self._shard_for(key)
        with errors(self.server.shown):
            await self.server.client.set(f"{shard}shared:{key}", value, px=max(1, int(seconds * 1000)))
            await self.server.client.delete(f"{shard}lock:{key}")

    async def lock_shared(self, key: str, seconds: float) -> bool:
        """Take the lock, unless somebody has it."""
        with errors(self.server.shown):
            name = f"{self._shard_for(key)}lock:{key}"
            return bool(await self.server.client.set(name, b"1", nx=True, px=max(1, int(seconds * 1000))))

    def _shard_for(self, key: str) -> str:
        return self._shards[shard_of(key, self.shards)]


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


def _links(lease: Lease, visit: Visit) -> Iterable[tuple[Request, str]]:
    """The links with a word each that is the same when this page is committed or visited again."""
    if not visit.links:
        return
    page = blake2b(wire.identity(lease.message), digest_size=8).hexdigest()
    times: Counter[str] = Counter()
    for request in visit.links:
        if request.dont_filter:
            times[request.url] += 1
        yield request, f"{page}:{times[request.url]}"


def _escape(pattern: str) -> str:
    """A key as a literal MATCH pattern."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in pattern)


__all__ = ["Junk", "RedisFrontier"]
