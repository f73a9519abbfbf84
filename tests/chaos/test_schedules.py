"""P42: each tick of a schedule runs to its end once, however many schedulers there are and whichever of them die."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.schedules.timetable import job_of
from tests.chaos.judge import TABLE, Row
from tests.chaos.stage import Scale, Theatre
from tests.clock import Clock, needs_clock
from tests.scheduling import QUARTER, START, Stage, idle_after
from tests.valkey import Valkey

NAMES = [f"n{number}" for number in range(10)]
MOVES = 20  # of the clock, each to the next tick of all schedules
SCHEDULERS = 3
SOON = 0.1  # seconds after a move in which something dies


@needs_clock
@pytest.mark.long
async def test_p42_schedules(theatre: Theatre, scale: Scale, tmp_path: Path) -> None:
    """At each tick one of three schedulers, or the queue server, is killed; another scheduler takes its place."""
    row, chance = Row("P42", "schedules: schedulers, server killed", theatre.seed), random.Random(theatre.seed)
    TABLE.append(row)
    started, clock, log = time.monotonic(), Clock(tmp_path, START), tmp_path / "log"
    log.touch()
    ends: Counter[str] = Counter()
    with Valkey(appendonly=True, environment=clock.environment) as server:
        async with open_redis(Server(server.url), prefix="s", shards=1) as backend:
            stage = Stage(server, backend.schedules, "s", log)
            for name in NAMES:
                await stage.add(name, "sleep 0.02")
            for _ in range(SCHEDULERS):
                await stage.scheduler()
            for move in range(MOVES):
                clock.set(START + 2 + move * QUARTER)
                await asyncio.sleep(chance.random() * SOON)
                if chance.randrange(SCHEDULERS + 1) == 0:
                    row.faults.append((time.monotonic(), "kill -9 of the queue server"))
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                else:
                    row.faults.append((time.monotonic(), "kill -9 of a scheduler"))
                    victim = chance.choice([one for one in stage.processes if one.returncode is None])
                    victim.kill()
                    await victim.wait()
                    await stage.scheduler()
                for table in await stage.until(idle_after(clock.moment)):
                    ends.update(job_of(table.name, one.tick) for one in table.ends if one.tick >= clock.moment - 2)
            tables = await stage.schedules.all()
            await stage.close()
    wanted = {job_of(name, START + 1 + move * QUARTER) for name in NAMES for move in range(MOVES)}
    row.seconds = time.monotonic() - started
    row.faults_before(time.monotonic())
    row.exactly("ticks that ended once", sum(ends[job] == 1 for job in wanted), len(wanted))
    row.exactly("others that ended", len(ends.keys() - wanted), 0)
    row.exactly("skipped", sum(sum(table.skipped.values()) for table in tables), 0)
    row.exactly("never begun", len(wanted - stage.lines().keys()), 0)
    row.told("begun again, after a kill", sum(stage.lines().values()) - len(wanted))
    assert row.passed, row
