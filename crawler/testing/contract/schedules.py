"""Timetables of schedules: of all who have read one, a single one replaces it, and only when its tick is due."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from crawler.schedules.timetable import Run, Schedule, Timetable, changed, timetable
from crawler.testing.contract.world import Crawl, World

NEWS = Schedule("news", "*/15 * * * *", ("crawl", "http://a.example/"), tz="Europe/Berlin", catch_up=True)


@pytest.fixture
async def made(crawl: Crawl) -> Timetable:
    """A schedule that somebody has added."""
    table = timetable(NEWS, await crawl.frontier.schedules.now())
    assert await crawl.frontier.schedules.replace(None, table)
    return table


def begun(table: Timetable, tick: int, scheduler: str = "s1") -> Timetable:
    """The timetable after somebody has taken this tick."""
    return changed(table, last=tick, next=tick + 900, runs=(Run(tick, scheduler),))


async def test_there_is_no_schedule_at_first(crawl: Crawl) -> None:
    assert await crawl.frontier.schedules.all() == []
    assert await crawl.frontier.schedules.get("news") is None


async def test_what_is_stored_is_read_by_all(world: World, crawl: Crawl, made: Timetable) -> None:
    other = (await world.client()).schedules
    assert await other.get("news") == made
    table = replace(begun(made, made.next), paused='by "me"', waiting=5, skipped={"ünlucky": 3})
    assert await other.replace(made, replace(table, last=0))
    assert await crawl.frontier.schedules.all() == [replace(table, last=0)]


async def test_schedules_are_listed_by_name(crawl: Crawl, made: Timetable) -> None:
    for name in ("z", "a"):
        assert await crawl.frontier.schedules.replace(None, changed(made, schedule=replace(NEWS, name=name)))
    assert [table.name for table in await crawl.frontier.schedules.all()] == ["a", "news", "z"]


async def test_a_name_is_given_once(world: World, crawl: Crawl, made: Timetable) -> None:
    assert not await (await world.client()).schedules.replace(None, changed(made))
    assert await crawl.frontier.schedules.get("news") == made


async def test_who_has_read_an_older_one_changes_nothing(crawl: Crawl, made: Timetable) -> None:
    paused = changed(made, paused="me")
    assert await crawl.frontier.schedules.replace(made, paused)
    assert not await crawl.frontier.schedules.replace(made, changed(made, paused="you"))
    assert await crawl.frontier.schedules.get("news") == paused


async def test_a_call_that_is_repeated_is_done_once(crawl: Crawl, made: Timetable) -> None:
    """Its reply was lost."""
    paused = changed(made, paused="me")
    assert await crawl.frontier.schedules.replace(None, made)
    assert await crawl.frontier.schedules.replace(made, paused)
    assert await crawl.frontier.schedules.replace(made, paused)
    assert await crawl.frontier.schedules.get("news") == paused


async def test_of_many_one_takes_a_tick(world: World, crawl: Crawl, made: Timetable) -> None:
    clients = [(await world.client()).schedules for _ in range(4)]
    tick = int(await crawl.frontier.schedules.now())
    wanted = [begun(made, tick, f"s{number}") for number in range(4)]
    taken = await asyncio.gather(*(one.replace(made, table) for one, table in zip(clients, wanted, strict=True)))
    assert sorted(taken) == [False, False, False, True]
    assert await crawl.frontier.schedules.get("news") == wanted[taken.index(True)]


async def test_a_tick_is_taken_when_it_is_due_by_the_clock_of_the_server(world: World, crawl: Crawl) -> None:
    schedules = crawl.frontier.schedules
    made = timetable(NEWS, await schedules.now())
    assert await schedules.replace(None, made)
    tick = int(await schedules.now()) + 2
    table = begun(made, tick)
    assert not await schedules.replace(made, table) or await schedules.now() >= tick
    await world.pass_time(tick - await schedules.now())
    assert await schedules.replace(made, table)


async def test_what_is_no_tick_needs_no_time(crawl: Crawl, made: Timetable) -> None:
    """As when the clock was set back while a run goes on."""
    tick = int(await crawl.frontier.schedules.now())
    table = begun(made, tick)
    assert await crawl.frontier.schedules.replace(made, table)
    early = changed(table, last=tick, runs=(Run(tick + 9999, "s1"),))
    assert await crawl.frontier.schedules.replace(table, early)


async def test_a_schedule_is_removed_once(crawl: Crawl, made: Timetable) -> None:
    assert await crawl.frontier.schedules.remove("news")
    assert not await crawl.frontier.schedules.remove("news")
    assert not await crawl.frontier.schedules.replace(made, changed(made)), "it does not come back"
    assert await crawl.frontier.schedules.all() == []


async def test_the_time_of_the_server_passes(world: World, crawl: Crawl) -> None:
    before = await crawl.frontier.schedules.now()
    await world.pass_time(0.05)
    assert 0.05 <= await crawl.frontier.schedules.now() - before < 60
