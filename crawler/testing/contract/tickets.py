"""The tasks that wait for the result of a job: each ticket is kept until it is closed, whatever becomes of its job."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from crawler.errors import UsageError
from crawler.model import Ticket
from crawler.testing.contract.world import Crawl, World

FIRST = Ticket("t1", "news", "e1", refused=2, issued=5.0, reply='{"chain": []}')
SECOND = Ticket("t2", "news", "e1", is_page=True, issued=4.0)


async def test_a_ticket_is_kept_until_it_is_closed(world: World, crawl: Crawl) -> None:
    tickets = crawl.frontier.tickets
    assert await tickets.open() == []
    assert (await tickets.issue(FIRST), await tickets.issue(SECOND)) == (True, True)
    assert await (await world.client()).tickets.open() == [SECOND, FIRST], "the oldest first"
    assert (await tickets.close("t2"), await tickets.close("t2")) == (True, False)
    assert await tickets.open() == [FIRST]


async def test_issuing_a_ticket_twice_is_issuing_it_once(crawl: Crawl) -> None:
    await crawl.frontier.tickets.issue(FIRST)
    assert not await crawl.frontier.tickets.issue(replace(FIRST, job="other"))
    assert await crawl.frontier.tickets.open() == [FIRST]


async def test_a_ticket_outlives_its_job(crawl: Crawl) -> None:
    await crawl.frontier.tickets.issue(FIRST)
    await crawl.frontier.jobs.delete(crawl.job.name)
    assert await crawl.frontier.tickets.open() == [FIRST]


async def test_a_ticket_has_a_bound(crawl: Crawl) -> None:
    with pytest.raises(UsageError, match="pass large arguments by reference"):
        await crawl.frontier.tickets.issue(replace(FIRST, reply="x" * 1_000_000))
    assert await crawl.frontier.tickets.open() == []
    assert await crawl.frontier.tickets.issue(replace(FIRST, reply="x" * 999_000))
