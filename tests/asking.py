"""Ask gates about pages that are really held: a gate may ask a host only in the name of a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from crawler.frontier.memory.backend import memory_backend
from crawler.frontier.memory.frontier import MemoryFrontier
from crawler.interfaces import Backend, Pace
from crawler.model import Done, Job, Lease, Request, Visit
from crawler.robots.gate import RobotsGate, Verdict

AT_ONCE = Pace(delay=0.0, concurrency=1000)


async def held(frontier: Backend, url: str, *workers: str) -> list[Lease]:
    """The same page once for each of the workers."""
    job = await frontier.jobs.create(Job("asking"))
    await frontier.adding.add(job, [Request(url, dont_filter=True) for _ in workers])
    return [(await frontier.queue.claim(worker, 1, [job], AT_ONCE)).leases[0] for worker in workers]


async def end(frontier: Backend, worker: str, lease: Lease) -> None:
    """The page is done."""
    assert await frontier.queue.commit(worker, [(lease, Visit(Done()))], AT_ONCE) == [True]


async def ask_all(
    gates: Sequence[RobotsGate], url: str, job: str | None = None, frontier: Backend | None = None
) -> list[Verdict]:
    """What each gate of a frontier says of the page at the same moment; then their leases end."""
    if frontier is None:
        frontier = memory_backend(cast(MemoryFrontier, gates[0]._asking))
    workers = [gate._worker for gate in gates]
    leases = await held(frontier, url, *workers)
    verdicts = await asyncio.gather(*(gate.check(lease, job) for gate, lease in zip(gates, leases, strict=True)))
    for worker, lease in zip(workers, leases, strict=True):
        await end(frontier, worker, lease)
    return verdicts


async def ask(gate: RobotsGate, url: str, job: str | None = None, frontier: Backend | None = None) -> Verdict:
    """What one gate says."""
    return (await ask_all([gate], url, job, frontier))[0]
