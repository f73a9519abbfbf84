"""Calls that reach the server twice because the first reply was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.server import MemoryServer
from crawler.interfaces import Backend
from crawler.model import Done, Job, Request, Retry, Visit
from crawler.testing.contract.world import AT_ONCE, failed, pages


class Repeated(MemoryServer):
    """Runs each script twice and gives the second reply."""

    def run_in_thread(self, script: str, key: str, *arguments: Any) -> Any:
        """Run it twice."""
        super().run_in_thread(script, key, *arguments)
        return super().run_in_thread(script, key, *arguments)


@pytest.fixture
async def frontier() -> AsyncIterator[Backend]:
    """One whose first replies are lost."""
    async with open_memory(Repeated()) as backend:
        yield backend


async def test_a_repeated_claim_gives_the_same_requests_and_none_besides(frontier: Backend) -> None:
    jobs = [await frontier.jobs.create(Job(name)) for name in ("news", "shop")]
    for job in jobs:
        await frontier.adding.add(job, [Request(url) for url in pages(4)])

    async def claimed(limit: int) -> list[tuple[str, str]]:
        """Claim from both jobs."""
        claim = await frontier.queue.claim("w1", limit, jobs, AT_ONCE)
        assert (claim.wait, claim.idle) == (0.0, "")
        return [(lease.job, lease.request.url) for lease in claim.leases]

    everything = [(job.name, url) for job in jobs for url in pages(4)]
    assert [await claimed(limit) for limit in (2, 1, 3, 1, 9)] == [
        everything[:2],
        everything[2:3],
        everything[3:6],
        everything[6:7],
        everything[7:],
    ]
    assert await claimed(9) == []
    for job in jobs:
        stats = await frontier.reading.stats(job)
        assert (stats.pending, stats.processing) == (0, 4)


async def test_a_repeated_commit_is_answered_as_the_first_and_done_once(frontier: Backend) -> None:
    job = await frontier.jobs.create(Job("news"))
    await frontier.adding.add(job, [Request(url) for url in pages(3)])
    for outcome in (Done(), Retry(failed(), 60.0), Done()):
        (lease,) = (await frontier.queue.claim("w1", 1, [job], AT_ONCE)).leases
        assert await frontier.queue.commit("w1", [(lease, Visit(outcome, items=(b"{}",)))], AT_ONCE) == [True]
    stats = await frontier.reading.stats(job)
    assert (stats.pending, stats.processing, stats.done, stats.outbox) == (1, 0, 2, 2)
    assert "fenced" not in stats.counters
