"""The exporter and a queue server that hiccups: each item in the sink once, and out of the outbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crawler.errors import FrontierUnavailable, OutputClosed
from crawler.export.exporter import Exporter
from crawler.export.sinks.in_thread import BlockingSink, InThread
from crawler.export.sinks.jsonl import JsonlSink
from crawler.export.sinks.stream import STDOUT, StreamSink
from crawler.interfaces import Pace
from crawler.model import Done, Exported, Job, Request, Visit
from tests.memory import MemoryFrontier

PACE = Pace(delay=0.0, concurrency=10)


class Flaky(MemoryFrontier):
    """Loses the answers of the next `silent` acknowledgements, and, with `deaf`, does not even get them."""

    silent = 0
    deaf = False

    async def acknowledge(self, job: Job, exported: Exported) -> None:
        if self.silent and exported.positions:
            self.silent -= 1
            if not self.deaf:
                await super().acknowledge(job, exported)
            raise FrontierUnavailable("no answer")
        await super().acknowledge(job, exported)


async def with_items(frontier: MemoryFrontier, first: int, last: int) -> Job:
    """A job that has these items in its outbox."""
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{n}") for n in range(first, last)], seed=True)
    leases = (await frontier.claim("w1", 100, [job], PACE)).leases
    visits = [(lease, Visit(Done(), items=(b'{"url":"%s"}' % lease.request.url.encode(),))) for lease in leases]
    await frontier.commit("w1", visits, PACE)
    return job


def exporter(frontier: MemoryFrontier, job: Job, sink: BlockingSink, patient: bool = True) -> Exporter:
    return Exporter(frontier.jobs, frontier, InThread(sink), job, name="x", batch=10, lease_seconds=15, patient=patient)


@pytest.mark.parametrize("deaf", [True, False])
async def test_a_lost_last_acknowledgement_is_made_again(tmp_path: Path, deaf: bool) -> None:
    frontier = Flaky()
    job = await with_items(frontier, 0, 5)
    frontier.silent, frontier.deaf = 1, deaf
    out = exporter(frontier, job, JsonlSink(tmp_path / "items.jsonl", job.epoch))
    await out.run(asyncio.Event())
    assert out.items == 5
    assert (await frontier.stats(job)).outbox == 0
    assert len((tmp_path / "items.jsonl").read_text().splitlines()) == 5


async def test_a_hiccup_while_it_resumes_does_not_lock_it_out_of_its_own_file(tmp_path: Path) -> None:
    frontier = Flaky()
    job = await with_items(frontier, 0, 5)
    path = tmp_path / "items.jsonl"
    await exporter(frontier, job, JsonlSink(path, job.epoch)).run(asyncio.Event())
    await with_items(frontier, 5, 7)
    frontier.silent, frontier.deaf = 1, True
    await exporter(frontier, job, JsonlSink(path, job.epoch)).run(asyncio.Event())
    assert len(path.read_text().splitlines()) == 7
    assert (await frontier.stats(job)).outbox == 0


async def test_patience_ends_where_nobody_will_ever_read() -> None:
    class Closed(StreamSink):
        def write(self, entries: object) -> int:
            raise OutputClosed("standard output was closed")

    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 1)
    with pytest.raises(OutputClosed):
        await asyncio.wait_for(exporter(frontier, job, Closed(STDOUT, job.epoch)).run(asyncio.Event(), follow=True), 5)
    assert (await frontier.stats(job)).outbox == 1
