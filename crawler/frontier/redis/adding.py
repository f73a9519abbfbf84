"""(unknown) → pending on Redis: a job's known URLs, its hosts in scope, and its seeders."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from msgspec import Struct

from crawler.errors import FrontierFull, FrontierUnavailable, ReplicasMissing
from crawler.frontier import message as wire
from crawler.frontier.redis.errors import JobGone, errors
from crawler.frontier.redis.jobs import RedisJobs
from crawler.frontier.redis.keys import job_prefix, shard_for, shard_of
from crawler.frontier.redis.records import packed
from crawler.frontier.redis.seen_cache import SeenCache, is_simple, known_as
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import ADD_CHUNK, ALL_CACHE_ENTRIES
from crawler.model import Added, Job, Lease, Request
from crawler.parsing.url import dedup_key, fingerprint, host_of


class _Requests(Struct):
    """Requests of one shard, as `add.lua` describes them."""

    hosts: list[str] = []
    priorities: list[str] = []
    delays: list[int] = []
    counts: list[int] = []
    fingerprints: list[str] = []
    numbers: list[float] = []
    messages: list[str] = []
    marks: list[str] = []
    targets: list[tuple[str, str] | str] = []

    def begin(self, host: str, priority: int, delay: float) -> None:
        """Go on with requests of this host, priority and delay (seconds)."""
        self.hosts.append(host)
        self.priorities.append(str(priority))
        self.delays.append(int(delay * 1000))
        self.counts.append(0)

    def append(self, request: Request, word: str, secret: bytes) -> None:
        """Add one of them."""
        number = fingerprint(_identity(request, word), secret)
        message = wire.encode(request, word if request.dont_filter or request.redirects else "")
        self.counts[-1] += 1
        self.fingerprints.append(str(number))
        self.numbers.append(float(number))
        self.messages.append(message.decode())
        self.marks.append(_mark(number, request, secret))
        self.targets.append(_target(request, message, secret) if request.redirects else "")

    def end(self) -> None:
        """Leave out lists in which nothing stands, as nearly always."""
        if not any(self.marks):
            self.marks = []
        if not any(self.targets):
            self.targets = []


class RedisAdding:
    """Implements `Adding` and `Links`. `shards` are the prefixes of all shards."""

    def __init__(self, server: Server, shards: Sequence[str], jobs: RedisJobs) -> None:
        self._server = server
        self._shards = shards
        self._jobs = jobs
        self._known: dict[str, SeenCache] = {}  # by epoch, the last used at the end
        # For a repeated call after one that failed: epoch → (requests, words).
        self._adds: dict[str, tuple[Sequence[Request], list[str]]] = {}
        self._waiting: Counter[str] = Counter()  # epoch → new requests of calls that failed

    def doubt(self) -> None:
        """Forget all known URLs: a restarted server may have lost its last second, so it must be asked again."""
        self._known.clear()

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        """Push the unknown requests. Those with `dont_filter` are always new, except when a failed call is repeated."""
        before, words = self._adds.pop(job.epoch, ((), []))
        if before != requests:
            words = [secrets.token_hex(8) if request.dont_filter else "" for request in requests]
        try:
            return await self.add_with_words(job, list(zip(requests, words, strict=True)), seed=seed)
        except (FrontierUnavailable, FrontierFull):
            self._adds[job.epoch] = (requests, words)
            raise

    async def add_with_words(self, job: Job, requests: Sequence[tuple[Request, str]], *, seed: bool = False) -> Added:
        """Do the same. Each word distinguishes a `dont_filter` request from others of its URL."""
        known = self._known.get(job.epoch, SeenCache())
        fresh = [pair for pair in requests if seed or not is_simple(pair[0]) or known_as(pair[0]) not in known]
        new = 0
        try:
            for shard, its_requests in self._batches(job, fresh):
                new += await self._run_add(job, job_prefix(shard, job.name), seed=seed, requests=its_requests)
        except (FrontierUnavailable, FrontierFull) as error:
            # The repeated call will find known what this one has added.
            self._waiting[job.epoch] += new + (error.replies[0] if isinstance(error, ReplicasMissing) else 0)
            raise
        if not seed:
            self._remember(job, [known_as(request) for request, _ in fresh if is_simple(request)])
        new += self._waiting.pop(job.epoch, 0)
        return Added(new, len(requests) - new)

    async def redirected(self, job: Job, leases: Iterable[Lease]) -> None:
        """Record that these requests were redirected. Call it before their targets are added."""
        by_shard: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for lease in leases:
            pair = _target(lease.request, lease.message, job.epoch.encode())
            by_shard[shard_for(lease.host, self._shards)].append(pair)
        for shard, pairs in by_shard.items():
            await self._run_add(job, job_prefix(shard, job.name), redirected=pairs)

    async def _run_add(
        self,
        job: Job,
        prefix: str,
        *,
        seed: bool = False,
        requests: _Requests | None = None,
        redirected: Sequence[tuple[str, str]] = (),
    ) -> int:
        named = {
            "J": prefix,
            "epoch": job.epoch,
            "order": job.order,
            "seed": seed,
            "requests": requests or _Requests(),
            "redirected": redirected,
        }
        try:
            new: int = await self._server.run("add", f"{prefix}stats", packed(named), barrier=True)
        except JobGone:
            raise await self._jobs.forgotten(job) from None
        return new

    def _remember(self, job: Job, urls: Sequence[str]) -> None:
        known = self._known.pop(job.epoch, None) or SeenCache()
        known.update(urls)
        self._known[job.epoch] = known
        while len(self._known) > 1 and sum(map(len, self._known.values())) > ALL_CACHE_ENTRIES:
            del self._known[next(iter(self._known))]

    def _batches(self, job: Job, requests: Sequence[tuple[Request, str]]) -> Iterator[tuple[str, _Requests]]:
        """Yield the shard and the requests of each call of `add.lua`."""
        secret = job.epoch.encode()
        for at in range(0, len(requests), ADD_CHUNK):
            alike: dict[tuple[str, int, float], list[tuple[Request, str]]] = defaultdict(list)
            for pair in requests[at : at + ADD_CHUNK]:
                alike[host_of(pair[0].url), pair[0].priority, pair[0].delay].append(pair)
            by_shard: dict[str, _Requests] = defaultdict(_Requests)
            for (host, priority, delay), pairs in alike.items():
                its_requests = by_shard[shard_for(host, self._shards)]
                its_requests.begin(host, priority, delay)
                for request, word in pairs:
                    its_requests.append(request, word, secret)
            for its_requests in by_shard.values():
                its_requests.end()
            yield from by_shard.items()

    def maybe_new(self, job: Job, requests: Sequence[Request]) -> Sequence[Request]:
        """Leave out requests that this process remembers having added."""
        known = self._known.get(job.epoch)
        return requests if known is None else known.without(requests)

    def maybe_new_urls(self, job: Job, urls: Sequence[str]) -> Sequence[str]:
        """Do the same for requests that consist of a URL alone."""
        known = self._known.get(job.epoch)
        return urls if known is None else known.without_urls(urls)

    async def in_scope(self, job: Job, hosts: Sequence[str]) -> list[bool]:
        """Ask the shard of each host whether the host is in scope."""
        pipeline = self._server.pipeline()
        for host in hosts:
            pipeline.sismember(f"{job_prefix(self._shards[shard_of(host, len(self._shards))], job.name)}scope", host)
        with errors(self._server.shown):
            return [bool(found) for found in await pipeline.execute()]

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        """Record in the first shard until when the seeder is presumed to be at work."""
        prefix = job_prefix(self._shards[0], job.name)
        try:
            await self._server.run(
                "seeding", f"{prefix}seeders", prefix, job.epoch, seeder, int(seconds * 1000), barrier=True
            )
        except JobGone:
            raise await self._jobs.forgotten(job) from None

    async def durable(self) -> None:
        """Wait for the disk of each server, and its replicas', if it can report that."""
        marks = [f"{shards[0]}mark" for shards in self._server.split(self._shards)]
        await asyncio.gather(*(self._server.synced(mark) for mark in marks))


def _mark(number: int, request: Request, secret: bytes) -> str:
    """The mark that records which callback a request named (see `add.lua`); empty for `parse`."""
    if request.callback == "parse":
        return ""
    return f"{number ^ fingerprint(f'callback {request.callback}', secret)} {request.callback}"


def _target(request: Request, message: bytes, secret: bytes) -> tuple[str, str]:
    """The mark of a redirected request's URL and callback, and the name of this one request (see `add.lua`)."""
    mark = fingerprint(f"redirected {request.callback} {_identity(request, '')}", secret)
    return str(mark), blake2b(wire.identity(message), digest_size=8).hexdigest()


def _identity(request: Request, word: str) -> str:
    """The text that distinguishes a request from others; for nearly all requests, the URL alone."""
    key = dedup_key(request.url)
    if request.method != "GET" or request.body:
        key = f"{request.method} {key} {blake2b(request.body, digest_size=8).hexdigest()}"
    return f"{word} {key}" if request.dont_filter else key
