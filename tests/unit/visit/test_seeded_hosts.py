"""Which hosts were seeded is remembered within bounds, and never forgotten in the middle of an answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crawler.model import Job
from crawler.visit import seeded_hosts as seeded
from crawler.visit.seeded_hosts import SeededHosts


async def all_seeded(job: Job, hosts: Sequence[str]) -> list[bool]:
    """Every host was seeded."""
    return [True for _ in hosts]


async def test_all_hosts_of_a_page_are_answered_however_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeded, "MAX_HOSTS", 100)
    hosts = SeededHosts(all_seeded, lambda name: Job(name, epoch="e1"))
    for page in range(50):
        wanted = {f"h{page}-{number}.example" for number in range(7)}
        assert await hosts.among("news", wanted) == wanted


async def test_the_hosts_of_all_jobs_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeded, "MAX_HOSTS", 100)
    hosts = SeededHosts(all_seeded, lambda name: Job(name, epoch=name))
    for job in range(9):
        for number in range(30):
            await hosts.among(f"job{job}", [f"h{number}.example"])
    assert [len(some) for some in hosts._yes.values()] == [30, 30, 30]


async def test_jobs_without_number_do_not_fill_the_memory() -> None:
    hosts = SeededHosts(all_seeded, lambda name: Job(name, epoch=name))
    for number in range(1000):
        assert await hosts.among(f"job{number}", ["a.example"]) == {"a.example"}
    assert len(hosts._yes) <= seeded.MAX_JOBS
