"""Schedulers as processes of their own on one queue server, whose clock the test moves: each tick once."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.runtime.tasks import end
from crawler.scheduler import TAKERS
from crawler.schedules.timetable import PAUSED, Run, changed, job_of, pause
from tests.clock import Clock, needs_clock
from tests.integration import scheduler_program
from tests.integration.scheduler_program import STAGES
from tests.scheduling import QUARTER, START, Stage, idle_after
from tests.valkey import Valkey

pytestmark = needs_clock

_prefixes = itertools.count(1)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    """Of the server."""
    return Clock(tmp_path_factory.mktemp("clock"), START)


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[Valkey]:
    """With that clock."""
    with Valkey(environment=clock.environment) as running:
        yield running


@pytest.fixture
async def stage(server: Valkey, clock: Clock, tmp_path: Path) -> AsyncIterator[Stage]:
    """Without a schedule or scheduler, a second before a full hour."""
    clock.set(START)
    prefix, log = f"s{next(_prefixes)}", tmp_path / "log"
    log.touch()
    async with open_redis(Server(server.url), prefix=prefix, shards=1) as backend:
        made = Stage(server, backend.schedules, prefix, log)
        yield made
        await made.close()


NAMES = [f"n{number}" for number in range(20)]
MOVES = 50
KILLS = 5


async def test_a_thousand_ticks_each_once_among_three_schedulers(stage: Stage, clock: Clock) -> None:
    """The clock moves along by quarters of an hour, and now and then steps back by up to an hour."""
    for name in NAMES:
        await stage.add(name)
    await asyncio.gather(*(stage.scheduler() for _ in range(3)))
    step = random.Random(7)
    for move in range(MOVES):
        clock.set(START + 2 + move * QUARTER)
        tables = await stage.until(idle_after(clock.moment))
        if move % 10 == 5:
            clock.set(clock.moment - step.randrange(3600))
            await asyncio.sleep(0.05)  # they look at it
    assert stage.lines() == {job_of(name, START + 1 + move * QUARTER): 1 for name in NAMES for move in range(MOVES)}
    assert all(table.skipped == {} for table in tables)
    assert {end.code for table in tables for end in table.ends} == {0}


async def test_each_tick_once_while_schedulers_are_killed(stage: Stage, clock: Clock) -> None:
    """A command may run again, for the same job, when its scheduler was killed; each tick ends once."""
    for name in NAMES[:5]:
        await stage.add(name, "sleep 0.01")
    stage.here()
    working = list(await asyncio.gather(*(stage.scheduler() for _ in range(KILLS))))
    chance = random.Random(11)
    ends: Counter[tuple[str, int]] = Counter()
    for move, victim in enumerate(working):
        clock.set(START + 2 + move * QUARTER)
        await asyncio.sleep(chance.random() * 0.1)
        victim.kill()
        for table in await stage.until(idle_after(clock.moment)):
            ends[table.name, table.ends[0].tick] += 1
            assert len({end.tick for end in table.ends}) == len(table.ends)
    wanted = {job_of(name, START + 1 + move * QUARTER) for name in NAMES[:5] for move in range(KILLS)}
    assert set(stage.lines()) == wanted
    assert {job_of(name, tick) for name, tick in ends} == wanted
    assert all(table.skipped == {} for table in await stage.schedules.all())


@pytest.mark.parametrize("at", STAGES)
async def test_a_scheduler_killed_at_a_stage_makes_neither_two_nor_none(stage: Stage, clock: Clock, at: str) -> None:
    await stage.add("news", "sleep 0.1")
    victim = await stage.scheduler(at)
    clock.set(START + 2)
    assert await victim.wait() == -9
    stage.here()
    (table,) = await stage.until(idle_after(clock.moment))
    assert [(end.tick, end.code) for end in table.ends] == [(START + 1, 0)]
    assert table.skipped == {}
    assert stage.lines() == {job_of("news", START + 1): 2 if at == "started" else 1}


async def test_a_scheduler_that_stops_hands_its_run_over_at_once(stage: Stage, clock: Clock) -> None:
    await stage.add("news", "trap 'exit 143' TERM; [ -e $0 ] || { touch $0; while :; do sleep 0.01; done; }")
    first = await stage.scheduler()
    clock.set(START + 2)
    await stage.until(lambda tables: bool(tables[0].runs))
    await _written(stage)
    first.terminate()
    assert await first.wait() == 0
    (table,) = await stage.schedules.all()
    assert [(run.scheduler, run.takers) for run in table.runs] == [("", 0)]
    stage.here()
    (table,) = await stage.until(idle_after(clock.moment))
    assert [(end.tick, end.code) for end in table.ends] == [(START + 1, 0)]
    Path(job_of("news", START + 1)).unlink()


async def test_a_later_tick_replaces_a_run(stage: Stage, clock: Clock) -> None:
    await stage.add("news", "exec sleep 60", overlap="replace")
    stage.here()
    clock.set(START + 2)
    await stage.until(lambda tables: bool(tables[0].runs))
    await _written(stage)
    clock.set(START + 2 + QUARTER)
    (table,) = await stage.until(lambda tables: [run.tick for run in tables[0].runs] == [START + 1 + QUARTER])
    assert [(end.tick, end.code) for end in table.ends] == [(START + 1, 143)]
    assert "replaced" in table.ends[0].why


async def test_two_schedulers_leave_a_paused_schedule_alone(stage: Stage, clock: Clock) -> None:
    await stage.add("news")
    await stage.add("other")
    before = await stage.schedules.get("news")
    assert before is not None
    paused = pause(before, "by me")
    assert paused is not None
    assert await stage.schedules.replace(before, paused)
    stage.here()
    stage.here()
    for move in range(4):
        clock.set(START + 2 + move * QUARTER)
        news, _ = await stage.until(idle_after(clock.moment))
    assert set(stage.lines()) == {job_of("other", START + 1 + move * QUARTER) for move in range(4)}
    assert news.skipped == {PAUSED: 4}


async def test_a_run_stops_when_its_schedule_is_removed(stage: Stage, clock: Clock, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    await stage.add("news", f"trap 'touch {stopped}; exit 143' TERM; while :; do sleep 0.01; done")
    stage.here()
    clock.set(START + 2)
    await _written(stage)
    assert await stage.schedules.remove("news")
    while not stopped.exists():  # noqa: ASYNC110 - it is a file
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("left", "code"), [(Run(60, takers=TAKERS), 1), (Run(60, stop=True), 143)], ids=["begun too often", "replaced"]
)
async def test_a_run_that_is_given_up_or_replaced_is_not_begun_by_who_takes_it_over(
    stage: Stage, left: Run, code: int
) -> None:
    await stage.add("news")
    before = await stage.schedules.get("news")
    assert before is not None
    assert await stage.schedules.replace(before, changed(before, runs=(left,)))
    stage.here()
    (table,) = await stage.until(lambda tables: bool(tables[0].ends))
    assert [(end.tick, end.code) for end in table.ends] == [(60, code)]
    assert not stage.lines()


async def test_a_command_that_met_an_outage_as_it_began_begins_again(
    stage: Stage, clock: Clock, tmp_path: Path
) -> None:
    await stage.add("news", f"[ -e {tmp_path}/up ] || {{ touch {tmp_path}/up; exit 69; }}")
    stage.here()
    clock.set(START + 2)
    (table,) = await stage.until(idle_after(clock.moment))
    assert [(end.tick, end.code) for end in table.ends] == [(START + 1, 0)]
    assert stage.lines() == {job_of("news", START + 1): 2}


async def test_the_second_signal_reaches_the_command(stage: Stage, clock: Clock, tmp_path: Path) -> None:
    drains = tmp_path / "drains"
    await stage.add("news", f"trap '[ -e {drains} ] && exit 130; touch {drains}' TERM; while :; do sleep 0.01; done")
    scheduler = stage.here()
    clock.set(START + 2)
    await _written(stage)
    scheduler.stop()
    while not drains.exists():  # noqa: ASYNC110 - it is a file
        await asyncio.sleep(0.005)
    scheduler.stop()
    assert await stage.tasks[0] == 0
    (table,) = await stage.schedules.all()
    assert (table.runs[0].scheduler, table.ends) == ("", ())


async def test_a_run_whose_command_had_to_be_killed_for_the_stop_is_handed_over(
    stage: Stage, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.scheduler.LATE", 0.0)
    deaf = tmp_path / "deaf"
    await stage.add("news", f"trap '' TERM; touch {deaf}; while :; do sleep 0.01; done")
    scheduler = stage.here()
    clock.set(START + 2)
    while not deaf.exists():  # noqa: ASYNC110 - it is a file
        await asyncio.sleep(0.005)
    scheduler.stop()
    assert await stage.tasks[0] == 0
    (table,) = await stage.schedules.all()
    assert (table.runs[0].scheduler, table.ends) == ("", ())


async def test_an_outage_of_the_queue_server_costs_no_run(tmp_path: Path) -> None:
    """The command goes on, nobody takes it over, and its end is noted when the server is back; ticks go on, too."""
    clock, log = Clock(tmp_path, START), tmp_path / "log"
    log.touch()
    with Valkey(appendonly=True, environment=clock.environment) as server:
        async with open_redis(Server(server.url), prefix="s", shards=1) as backend:
            stage = Stage(server, backend.schedules, "s", log)
            for name in NAMES:
                await stage.add(name, f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
            stage.here()
            stage.here()
            clock.set(START + 2)
            while len(stage.lines()) < len(NAMES):  # noqa: ASYNC110 - it is in a file
                await asyncio.sleep(0.005)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(1.5 * scheduler_program.LEASE_SECONDS)  # nobody can renew or look
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.5 * scheduler_program.LEASE_SECONDS)
            (tmp_path / "go").touch()
            for table in await stage.until(idle_after(clock.moment)):
                assert [(end.tick, end.code) for end in table.ends] == [(START + 1, 0)]
            clock.set(START + 2 + QUARTER)
            await stage.until(idle_after(clock.moment))
            assert set(stage.lines().values()) == {1}
            await end(*stage.tasks)


async def _written(stage: Stage) -> None:
    """Wait until a command runs."""
    while not stage.lines():  # noqa: ASYNC110 - it is in a file
        await asyncio.sleep(0.005)
