"""Measure the frontier on one server, under sentinels and on a cluster: CPU of the client, of the masters and of their
replicas, and time a page. Each round measures all of them in turn, each on fresh servers."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

from msgspec import Struct

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.model import Job
from scripts.benchmark.process import cores, cpu_of
from scripts.benchmark.queue import PAGES, fill, one_new, tell, visit_all
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet

SHARDS = 6


class Fleet(Struct, frozen=True):
    """Real servers: where clients find them, the masters, and their replicas."""

    url: str
    masters: Sequence[Valkey]
    replicas: Sequence[Valkey] = ()


class Setup(Struct, frozen=True):
    """What is measured: the servers, and how the frontier uses them."""

    start: Callable[[], Iterator[Fleet]]
    shards: int = 1
    replicas: int = 0  # REDIS_REPLICAS


class Cost(Struct, frozen=True):
    """Of a page with 35 links, in µs: CPU, that of the busiest master as well, and time."""

    client: float
    masters: float
    busiest: float
    replicas: float
    time: float


def _single() -> Iterator[Fleet]:
    with Valkey(tcp=True, appendonly=True, fsync="everysec") as server:
        yield Fleet(server.url, [server])


def _sentinel() -> Iterator[Fleet]:
    with SentinelFleet(replicas=1, appendonly=True) as fleet:
        master = fleet.master()
        yield Fleet(fleet.url, [master], fleet.replicas(master))


def _cluster(masters: int, replicas: int) -> Callable[[], Iterator[Fleet]]:
    def start() -> Iterator[Fleet]:
        with ClusterFleet(masters=masters, replicas=replicas, appendonly=True) as fleet:
            yield Fleet(fleet.url, fleet.masters(), [node for one in fleet.masters() for node in fleet.replicas(one)])

    return start


ALL: Mapping[str, Setup] = {
    "one server, 1 shard": Setup(_single),
    f"one server, {SHARDS} shards": Setup(_single, SHARDS),
    "sentinels, 1 replica, REDIS_REPLICAS=0": Setup(_sentinel),
    "sentinels, 1 replica, REDIS_REPLICAS=1": Setup(_sentinel, replicas=1),
    f"cluster, 3 masters, {SHARDS} shards, no replicas": Setup(_cluster(3, 0), SHARDS),
    f"cluster, 3 masters with 1 replica, {SHARDS} shards, REDIS_REPLICAS=0": Setup(_cluster(3, 1), SHARDS),
    f"cluster, 3 masters with 1 replica, {SHARDS} shards, REDIS_REPLICAS=1": Setup(_cluster(3, 1), SHARDS, 1),
}


def main(repeat: int) -> int:
    """Measure all in turn, `repeat` times, and print medians and ranges."""
    server_core, client_core = cores()
    found: dict[str, list[Cost]] = defaultdict(list)
    for _ in range(repeat):
        for name, setup in ALL.items():
            with contextmanager(setup.start)() as fleet:
                if server_core is not None:
                    for server in (*fleet.masters, *fleet.replicas):
                        _pin(server.pid, server_core)
                if client_core is not None:
                    _pin(0, client_core)
                found[name].append(asyncio.run(_measure(fleet, setup)))
    for name, costs in found.items():
        tell(name, "; ".join(f"{field} {_words(costs, field)}" for field in Cost.__struct_fields__) + " µs a page")
    return 0


def _pin(pid: int, core: int) -> None:
    for task in os.listdir(f"/proc/{pid or os.getpid()}/task"):
        os.sched_setaffinity(int(task), {core})


async def _measure(fleet: Fleet, setup: Setup) -> Cost:
    server = Server(fleet.url, replicas=setup.replicas)
    async with open_redis(server, shards=setup.shards) as frontier:
        job = await frontier.jobs.create(Job("bench"))
        await fill(frontier, job, PAGES)
        began, before, copied = time.perf_counter(), _cpu(fleet.masters), _cpu(fleet.replicas)
        client = await visit_all(frontier, job, one_new())
        seconds = time.perf_counter() - began
        masters = [now - then for now, then in zip(_cpu(fleet.masters), before, strict=True)]
        replicas = sum(_cpu(fleet.replicas)) - sum(copied)
    return Cost(*(1e6 * part / PAGES for part in (client, sum(masters), max(masters), replicas, seconds)))


def _cpu(servers: Sequence[Valkey]) -> list[float]:
    return [cpu_of(server.pid) for server in servers]


def _words(costs: Sequence[Cost], field: str) -> str:
    values = sorted(getattr(cost, field) for cost in costs)
    return f"{median(values):.0f} ({values[0]:.0f} to {values[-1]:.0f})"
