"""Large bodies share the memory of a process: in order of arrival, never more than there is, nothing kept for ever."""

from __future__ import annotations

import asyncio

import pytest

from crawler.fetch.budget import BodyBudget


class Reader:
    """A task that takes some bytes and keeps them until it is told to end."""

    def __init__(self, budget: BodyBudget, amount: int) -> None:
        self.has_room = False
        self.may_end = asyncio.Event()
        self.task = asyncio.create_task(self._read(budget, amount))

    async def _read(self, budget: BodyBudget, amount: int) -> None:
        await budget.take(amount)
        self.has_room = True
        await self.may_end.wait()

    async def ends(self) -> None:
        self.may_end.set()
        await self.task
        await turns()


async def turns() -> None:
    """Let everybody go as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def readers(budget: BodyBudget, *amounts: int) -> list[Reader]:
    found = [Reader(budget, amount) for amount in amounts]
    await turns()
    return found


async def test_who_finds_no_room_waits_until_a_task_with_some_has_ended() -> None:
    first, second, third = await readers(BodyBudget(10), 6, 4, 1)
    assert (first.has_room, second.has_room, third.has_room) == (True, True, False)
    await second.ends()
    assert third.has_room
    await asyncio.gather(first.ends(), third.ends())


async def test_a_large_one_is_not_overtaken_by_small_ones() -> None:
    first, large, small = await readers(BodyBudget(10), 6, 8, 1)
    assert (large.has_room, small.has_room) == (False, False)
    await first.ends()
    assert (large.has_room, small.has_room) == (True, True)
    await asyncio.gather(large.ends(), small.ends())


async def test_one_larger_than_all_there_is_waits_to_be_alone() -> None:
    first, huge = await readers(BodyBudget(10), 1, 1_000)
    assert not huge.has_room
    await first.ends()
    assert huge.has_room
    await huge.ends()


async def test_the_second_body_of_a_task_takes_the_place_of_the_first() -> None:
    budget = BodyBudget(10)
    await budget.take(8)
    async with asyncio.timeout(5):
        await budget.take(9)
    (other,) = await readers(budget, 1)
    assert other.has_room
    await other.ends()


@pytest.mark.parametrize("is_served", [False, True], ids=["while it waits", "in the moment it is served"])
async def test_who_is_cancelled_keeps_nothing(is_served: bool) -> None:
    budget = BodyBudget(10)
    first, cancelled, last = await readers(budget, 10, 10, 10)
    if is_served:
        first.may_end.set()
        await first.task
    cancelled.task.cancel()
    await turns()
    await first.ends()
    assert last.has_room
    await last.ends()
    (again,) = await readers(budget, 10)
    assert again.has_room
    await again.ends()
