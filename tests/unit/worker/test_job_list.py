"""Every job has its turn at being served first, however seldom a worker asks."""

from __future__ import annotations

from collections import Counter

import pytest

from crawler.control.routes import Assignment
from crawler.model import Job
from crawler.worker import job_list as joblist
from crawler.worker.job_list import JobList
from tests.memory import MemoryFrontier


@pytest.mark.parametrize("fresh_for", [0.0, 3600.0])
async def test_no_job_is_always_first(monkeypatch: pytest.MonkeyPatch, fresh_for: float) -> None:
    monkeypatch.setattr(joblist, "FRESH_FOR", fresh_for)
    frontier = MemoryFrontier()
    for name in "abc":
        await frontier.create_job(Job(name))
    jobs = JobList(frontier.jobs)
    orders = [[job.name for job in await jobs()] for _ in range(30)]
    assert Counter(order[0] for order in orders) == {"a": 10, "b": 10, "c": 10}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


async def test_without_jobs_there_is_no_turn() -> None:
    assert await JobList(MemoryFrontier().jobs)() == []


async def test_a_worker_asks_only_for_the_jobs_of_its_queues_and_still_knows_the_others() -> None:
    frontier = MemoryFrontier()
    await frontier.create_job(Job("s1", spider="shop"))
    await frontier.create_job(Job("other", spider="site"))
    jobs = JobList(frontier.jobs, Assignment(queues=("eu",), routes={"spider:shop": "eu"}))
    assert [job.name for job in await jobs()] == ["s1"]
    assert jobs.job("other").spider == "site", "a lease of before"
