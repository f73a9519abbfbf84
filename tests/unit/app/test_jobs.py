"""Deleting jobs: items that no export has written are deleted only on demand."""

from __future__ import annotations

import pytest

from crawler.app.jobs import delete_job
from crawler.errors import UsageError
from crawler.interfaces import Pace
from crawler.model import Done, Job, Request, Visit
from tests.memory import MemoryFrontier


async def with_items(frontier: MemoryFrontier, name: str) -> Job:
    """A job with the items of one page in its outbox."""
    job, pace = await frontier.create_job(Job(name)), Pace(delay=0.0)
    await frontier.add(job, [Request(f"http://{name}.example/")], seed=True)
    (lease,) = (await frontier.claim("w1", 1, [job], pace)).leases
    await frontier.commit("w1", [(lease, Visit(Done(), items=(b"{}", b"{}")))], pace)
    return job


async def test_a_job_with_items_that_wait_is_kept_and_the_way_to_write_them_is_named() -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, "news")
    with pytest.raises(UsageError, match=r"items of 1 page .*crawler export --job news -o FILE.*--force"):
        await delete_job(frontier.backend.jobs, frontier.backend.reading, "news", force=False)
    assert (await frontier.stats(job)).outbox == 1


async def test_it_is_deleted_by_force_and_others_without() -> None:
    frontier = MemoryFrontier()
    await with_items(frontier, "news")
    await frontier.create_job(Job("empty"))
    assert await delete_job(frontier.backend.jobs, frontier.backend.reading, "empty", force=False)
    assert await delete_job(frontier.backend.jobs, frontier.backend.reading, "news", force=True)
    assert not await delete_job(frontier.backend.jobs, frontier.backend.reading, "news", force=False)
    assert await frontier.jobs() == []
