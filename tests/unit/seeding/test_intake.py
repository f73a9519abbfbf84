"""A batch is settled only when its requests are safe; whatever fails before, its messages come again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from crawler.errors import BrokerUnavailable, FrontierFull
from crawler.fetch.guard import AddressGuard
from crawler.frontier.message import check
from crawler.interfaces import Delivery
from crawler.model import Added, Job, Request
from crawler.seeding.admission import Admission
from crawler.seeding.backlogs import reported
from crawler.seeding.intake import Intake
from crawler.status import Backlog
from tests.memory import MemoryFrontier


class Queue:
    """A source in this process. It forgets what it has delivered when it fails, as a broker does."""

    def __init__(self, *bodies: bytes, events: list[str] | None = None) -> None:
        self.waiting = [Delivery(body, number) for number, body in enumerate(bodies)]
        self.rejected: list[tuple[bytes, str]] = []
        self.failures = 0  # calls of `settle` that will fail
        self.empty = asyncio.Event()
        self.events = [] if events is None else events

    async def open(self) -> None: ...

    async def take(self) -> Sequence[Delivery]:
        await asyncio.sleep(0)
        if not self.waiting:
            self.empty.set()
        return list(self.waiting)

    async def settle(self, taken: Sequence[Delivery], rejected: Sequence[tuple[Delivery, str]]) -> None:
        self.events.append("settle")
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("gone")
        self.rejected += [(message.body, why) for message, why in rejected]
        self.waiting = [message for message in self.waiting if message not in taken]

    async def backlog(self) -> Backlog:
        return Backlog("amqp://host/?queue=urls", len(self.waiting), 1)

    async def close(self) -> None: ...


class Noted(MemoryFrontier):
    """Notes the order of calls, and may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.is_full = False
        self.asked = asyncio.Event()

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        self.asked.set()
        if self.is_full:
            raise FrontierFull("out of memory")
        self.events.append(f"add {len(requests)}")
        return await super().add(job, requests, seed=seed)


def intake(frontier: Noted, job: Job, queue: Queue, told: list[str] | None = None) -> Intake:
    async def durable() -> None:
        frontier.events.append("durable")

    frontier.durable = durable
    return Intake(
        frontier,
        frontier,
        job,
        Admission(AddressGuard(), check, "site"),
        queue,
        name="s1",
        lease_seconds=15,
        refused=lambda text, why: None if told is None else told.append(f"{text}: {why}"),
    )


async def test_a_batch_is_added_then_on_disk_then_settled() -> None:
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    lines = b"\n".join(b"http://a.example/%d" % number for number in range(1_100))
    await intake(frontier, job, Queue(lines, b"http://b.example/", events=frontier.events)).run(0)
    assert frontier.events == ["add 500", "add 500", "add 101", "durable", "settle"]


async def test_nothing_is_settled_while_the_frontier_is_full() -> None:
    frontier = Noted()
    frontier.is_full = True
    job = await frontier.create_job(Job("news"))
    queue = Queue(b"http://a.example/", events=frontier.events)
    running = asyncio.create_task(intake(frontier, job, queue).run(0))
    await frontier.asked.wait()
    assert frontier.events == []
    assert not (await frontier.stats(job)).finished
    frontier.is_full = False
    await running
    assert frontier.events == ["add 1", "durable", "settle"]


async def test_a_batch_that_could_not_be_settled_comes_again_and_is_known() -> None:
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    queue = Queue(b"http://a.example/")
    queue.failures = 2
    seeding = intake(frontier, job, queue)
    with capture_logs() as logs:
        await seeding.run(0)
    assert (seeding.new, seeding.known, queue.waiting) == (1, 2, [])
    assert (await frontier.stats(job)).known == 1
    assert [one["event"] for one in logs] == ["source_unsettled", "source_unsettled_over"]


async def test_a_bad_message_is_rejected_with_its_reason_and_its_good_lines_are_seeds() -> None:
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    bad = b"ftp://a.example/\nhttp://a.example/\nhttp://169.254.169.254/"
    queue = Queue(b"{}", bad, b"http://b.example/")
    told: list[str] = []
    seeding = intake(frontier, job, queue, told)
    await seeding.run(0)
    assert (seeding.new, dict(seeding.refused)) == (2, {"bad message": 1, "bad url": 1, "address not permitted": 1})
    assert [body for body, _ in queue.rejected] == [b"{}", bad]
    assert queue.rejected[0][1] == "{}: it has no url"
    assert queue.rejected[1][1].startswith("ftp://a.example/: ")
    assert len(told) == 3


class Away(Queue):
    """Is away at first, and then empty."""

    tries = 0

    async def take(self) -> Sequence[Delivery]:
        self.tries += 1
        if self.tries == 1:
            await asyncio.sleep(0.05)  # longer than the command may be idle
            raise BrokerUnavailable("gone")
        return await super().take()


async def test_an_outage_of_the_source_is_not_taken_for_idleness() -> None:
    frontier = Noted()
    queue = Away()
    await intake(frontier, await frontier.create_job(Job("news")), queue).run(0.04)
    assert queue.tries > 2


async def test_the_job_stays_open_while_it_is_followed_and_status_sees_the_backlog() -> None:
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    queue = Queue(b"http://a.example/")
    running = asyncio.create_task(intake(frontier, job, queue).run(None))
    await queue.empty.wait()
    stats = await frontier.stats(job)
    assert (stats.seeding, stats.finished) == (1, False)
    assert await reported(frontier, job) == Backlog("amqp://host/?queue=urls", 0, 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await frontier.stats(job)).seeding == 0
