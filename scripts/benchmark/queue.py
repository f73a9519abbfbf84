"""Measure the frontier alone, on a durable server: CPU of client and server, and memory."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Done, Job, Request, Visit
from scripts.benchmark import waits
from scripts.benchmark.contenders import ROOT
from scripts.benchmark.process import cores, cpu_of
from tests.valkey import Valkey

PACE = Pace(delay=0.0, concurrency=1_000_000)
PAGES = 6_000
LINKS = 35
BATCH = 16  # visits in a commit, typical of a worker under load


class Bench:
    """A frontier on a fresh server, with one job."""

    def __init__(self, server: Valkey, connection: Server, frontier: Backend, job: Job) -> None:
        self.server = server
        self.client = connection.at("")
        self.frontier = frontier
        self.job = job

    @classmethod
    @asynccontextmanager
    async def on(cls, server: Valkey) -> AsyncIterator[Bench]:
        connection = Server(server.url)
        async with open_redis(connection) as frontier:
            yield cls(server, connection, frontier, await frontier.jobs.create(Job("bench")))

    async def fill(self, requests: int, hosts: int = 1000) -> None:
        """Add `requests` pending requests, with URLs of about 60 characters."""
        await fill(self.frontier, self.job, requests, hosts)

    async def restart(self) -> None:
        """Begin the job again, with nothing known."""
        await self.frontier.jobs.delete("bench")
        self.job = await self.frontier.jobs.create(Job("bench"))

    async def memory(self) -> int:
        return int((await self.client.info("memory"))["used_memory"])

    def server_cpu(self) -> float:
        return cpu_of(self.server.pid)


async def fill(frontier: Backend, job: Job, requests: int, hosts: int = 1000) -> None:
    """Add `requests` pending requests, with URLs of about 60 characters."""
    for at in range(0, requests, 20_000):
        await frontier.adding.add(job, [request(n, hosts) for n in range(at, min(requests, at + 20_000))])


def request(n: int, hosts: int) -> Request:
    """Request number `n`; consecutive numbers go to different hosts."""
    return Request(f"http://host-{n % hosts:07d}.example.com/articles/2026/page-{n:012d}.html", spider="bench")


async def page(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure claim, add of a page's links (one in 35 is new, as in real crawls) and commit: CPU of both sides."""
    await bench.fill(PAGES)
    server = bench.server_cpu()
    client = await visit_all(bench.frontier, bench.job, one_new())
    server = bench.server_cpu() - server
    tell("a page with 35 links", f"client {client / PAGES * 1e6:.0f} µs, server {server / PAGES * 1e6:.0f} µs CPU")


async def known(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure pages with `LINKS` random links to known URLs, with a client that has added them all and with one that
    has added none: a worker that joins."""
    for size in (max(size, 2 * PAGES) for size in sizes):
        await bench.restart()
        await bench.fill(size)
        before = _resident()
        async with open_redis(Server(bench.server.url)) as other:
            for who, frontier in (("the client that added them", bench.frontier), ("another client", other)):
                server = bench.server_cpu()
                client = await visit_all(frontier, bench.job, partial(_some_known, random.Random(1), size))
                costs = (1e6 * client / PAGES, 1e6 * (bench.server_cpu() - server) / PAGES)
                tell(
                    f"{LINKS} random links, {size:,} known, {who}",
                    f"client {costs[0]:.0f} µs, server {costs[1]:.0f} µs CPU a page",
                )
                tell("… and it has grown by", f"{(_resident() - before) / 1e6:.0f} MB")


def _some_known(chance: random.Random, size: int) -> list[Request]:
    return [request(chance.randrange(size), 1000) for _ in range(LINKS)]


def _resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def in_process(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure the same with `memory://`, where one process does both sides' work."""
    async with open_memory() as frontier:
        job = await frontier.jobs.create(Job("bench"))
        await fill(frontier, job, PAGES)
        seconds = await visit_all(frontier, job, one_new())
    tell("the same with memory://", f"{seconds / PAGES * 1e6:.0f} µs CPU")


def one_new() -> Callable[[], list[Request]]:
    """Return a function that makes the links of the next page: `LINKS`, one of them new, as in real crawls."""
    first = [request(n, 1000) for n in range(PAGES)]
    pages = count()

    def links() -> list[Request]:
        page = next(pages)
        old = [first[(page * 7 + n) % PAGES] for n in range(LINKS - 1)]
        return [*old, Request(f"http://new.example.com/{10_000_000 + page:012d}/page.html", depth=1, spider="bench")]

    return links


async def visit_all(frontier: Backend, job: Job, links_of_page: Callable[[], list[Request]]) -> float:
    """Claim and commit `PAGES` pages with their links. Return this process's CPU seconds, without making the links."""
    spent = time.process_time
    made, done = 0.0, 0
    started = spent()
    while done < PAGES:
        claim = await frontier.queue.claim("w", BATCH, [job], PACE)
        visits = []
        for lease in claim.leases:
            before = spent()
            links = links_of_page()
            made += spent() - before
            wanted = frontier.links.maybe_new(job, links)
            visits.append((lease, Visit(Done(), links=tuple(wanted), status=200, size=10_000, asked_at=0.0)))
            done += 1
        await frontier.queue.commit("w", visits, PACE)
    return spent() - started - made


async def slow(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure a thousand hosts without delay, alone and beside one with a delay of 10 s and 2,000 pending requests."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for is_beside in (False, True) * 3:
        await bench.restart()
        beside = [Request(f"http://slow.example.com/{n}", spider="bench") for n in range(2_000 * is_beside)]
        await bench.frontier.adding.add(bench.job, beside)
        await bench.fill(10_000)
        rates[is_beside].append(await _drain_beside(bench, 10_000))
    alone, together = (median(rates[is_beside]) for is_beside in (False, True))
    tell("1,000 hosts beside a slow one", f"{together / alone - 1:+.1%} of {alone:,.0f} requests/s")


async def _drain_beside(bench: Bench, pages: int) -> float:
    """Drain the fast hosts. Return their requests per second."""
    fast, one_each, started = 0, Pace(delay=0.0), time.perf_counter()
    while fast < pages:
        claim = await bench.frontier.queue.claim("w", 64, [bench.job], one_each)
        visits = []
        for lease in claim.leases:
            is_slow = lease.host == "slow.example.com"
            fast += not is_slow
            asked = time.monotonic()
            visits.append((lease, Visit(Done(), status=200, asked_at=asked, host_delay=10.0 if is_slow else None)))
        await bench.frontier.queue.commit("w", visits, one_each)
    return pages / (time.perf_counter() - started)


async def memory(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure the bytes per URL, in total and in the seen-set."""
    for size in (100, *sizes):
        await bench.restart()
        before = await bench.memory()
        await bench.fill(size, hosts=max(1, size // 1000))
        used = await bench.memory() - before
        seen = 0
        async for key in bench.client.scan_iter(match="*:seen:*", count=10_000):
            seen += await bench.client.memory_usage(key, samples=0)
        tell(f"{size:,} pending", f"seen-set {seen / size:.1f}, all else {(used - seen) / size:.1f} bytes a URL")


async def seed(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure `crawler seed -` with the largest size: URLs of few hosts, of many, and each of its own host."""
    size = max(sizes)
    for hosts in (100, 10_000, size):
        await bench.frontier.jobs.delete("seeds")
        urls = "".join(f"{request(n, hosts).url}\n" for n in range(size)).encode()
        started, server, before = time.monotonic(), bench.server_cpu(), os.times()
        await asyncio.to_thread(_seed, urls, bench.server.url)
        seconds, after = time.monotonic() - started, os.times()
        client = after.children_user + after.children_system - before.children_user - before.children_system
        costs = (1e6 * client / size, 1e6 * (bench.server_cpu() - server) / size)
        rate = f"{size / seconds:,.0f} URLs/s, start of the command included"
        tell(f"{size:,} seeds of {hosts:,} hosts", f"{rate}; client {costs[0]:.1f}, server {costs[1]:.1f} µs CPU a URL")


def _seed(urls: bytes, server: str) -> None:
    words = [sys.executable, "-P", "-m", "crawler", "seed", "-", "--job", "seeds", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": server}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(words, input=urls, check=True, cwd=folder, env=environment, capture_output=True)


async def start(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure commands that people wait for, and the time until the first request of `crawl`."""
    await waits.measure(bench.server.url, tell)


ALL: dict[str, Callable[[Bench, Sequence[int]], Awaitable[None]]] = {
    "page": page,
    "known": known,
    "in-process": in_process,
    "slow": slow,
    "memory": memory,
    "seed": seed,
    "start": start,
}


def tell(what: str, figure: str) -> None:
    """Print one row of a table."""
    print(f"| {what} | {figure} |", flush=True)


def main(names: Sequence[str] | None, sizes: Sequence[int]) -> int:
    """Run each measurement on its own server."""
    server_core, client_core = cores()
    for name in names or ALL:
        if server_core is not None and client_core is not None:  # people run their commands on several cores
            os.sched_setaffinity(0, {server_core, client_core} if name == "start" else {client_core})
        with Valkey(appendonly=True, fsync="everysec") as server:
            if server_core is not None:
                os.sched_setaffinity(server.pid, {server_core})
            asyncio.run(_measure(server, name, sizes))
    return 0


async def _measure(server: Valkey, name: str, sizes: Sequence[int]) -> None:
    async with Bench.on(server) as bench:
        await ALL[name](bench, sizes)
