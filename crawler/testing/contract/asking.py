"""Asks gates about pages that a worker really holds: a gate may ask a host only on behalf of a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from crawler.interfaces import Backend
from crawler.model import Done, Job, Lease, Request, Visit
from crawler.robots.gate import RobotsGate, Verdict
from crawler.testing.contract.world import AT_ONCE


async def held(backend: Backend, url: str, *workers: str, job: str = "asking") -> list[Lease]:
    """Leases of the same page, one for each worker."""
    made = await backend.jobs.create(Job(job))
    await backend.adding.add(made, [Request(url, dont_filter=True) for _ in workers])
    return [(await backend.queue.claim(worker, 1, [made], AT_ONCE)).leases[0] for worker in workers]


async def end(backend: Backend, worker: str, lease: Lease) -> None:
    """Commit the page as done."""
    assert await backend.queue.commit(worker, [(lease, Visit(Done()))], AT_ONCE) == [True]


async def ask_all(backend: Backend, gates: Sequence[RobotsGate], url: str, job: str | None = None) -> list[Verdict]:
    """Ask all gates of the backend about the page at the same moment, end their leases, and return the verdicts.

    `job`: one that wants sitemaps; None: another one, which does not.
    """
    workers = [gate._worker for gate in gates]
    leases = await held(backend, url, *workers, job=job or "asking")
    asking = (gate.check(lease, sitemaps=bool(job)) for gate, lease in zip(gates, leases, strict=True))
    verdicts = await asyncio.gather(*asking)
    for worker, lease in zip(workers, leases, strict=True):
        await end(backend, worker, lease)
    return verdicts


async def ask(backend: Backend, gate: RobotsGate, url: str, job: str | None = None) -> Verdict:
    """Ask one gate and return its verdict."""
    return (await ask_all(backend, [gate], url, job))[0]
