"""Schedules on a queue server whose clock a test moves, and schedulers as processes of their own.

stage = Stage(server, backend.schedules, prefix, log)
await stage.add("news")
await stage.scheduler()
clock.set(START + 2)
await stage.until(idle_after(clock.moment))
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crawler.interfaces import Schedules
from crawler.runtime.tasks import end
from crawler.scheduler import Scheduler
from crawler.schedules.timetable import Schedule, Timetable, timetable
from tests.integration import scheduler_program
from tests.valkey import Valkey

START = 1_796_000_400 - 1  # a second before a full hour
QUARTER = 900


class Stage:
    """Schedules on a server, the schedulers at work, and the lines that their commands have written."""

    def __init__(self, server: Valkey, schedules: Schedules, prefix: str, log: Path) -> None:
        self.schedules = schedules
        self._arguments = (server.url, prefix, str(log))
        self._log = log
        self._names = itertools.count(1)
        self.processes: list[asyncio.subprocess.Process] = []
        self.tasks: list[asyncio.Task[int]] = []

    async def add(self, name: str, command: str = "true", **fields: str) -> None:
        """Every quarter of an hour."""
        made = Schedule(name, "*/15 * * * *", ("crawl", command), **fields)  # type: ignore[arg-type]
        assert await self.schedules.replace(None, timetable(made, await self.schedules.now()))

    async def scheduler(self, stage: str = "") -> asyncio.subprocess.Process:
        """Start one, and wait until it works."""
        program = [sys.executable, scheduler_program.__file__, *self._arguments, f"s{next(self._names)}", stage]
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    def here(self) -> Scheduler:
        """Start one in this process."""
        made = scheduler_program.scheduler(self.schedules, str(self._log), f"s{next(self._names)}")
        self.tasks.append(asyncio.create_task(made.run()))
        return made

    async def until(self, is_so: Callable[[list[Timetable]], bool]) -> list[Timetable]:
        """Wait for it."""
        while not is_so(tables := await self.schedules.all()):  # noqa: ASYNC110 - it is in the server
            await asyncio.sleep(0.005)
        return tables

    def lines(self) -> Counter[str]:
        """Job → how often its command has run."""
        return Counter(self._log.read_text().split())

    async def close(self) -> None:
        """End all schedulers."""
        await end(*self.tasks)
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


def idle_after(moment: float) -> Callable[[list[Timetable]], bool]:
    """Whether all ticks up to the moment are decided and all runs have ended."""
    return lambda tables: all(table.next > moment and not table.runs for table in tables)
