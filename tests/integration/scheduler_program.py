"""A scheduler as a process of its own, whose commands write a line each. It may kill itself at one stage.

scheduler_program.py URL PREFIX LOG NAME [STAGE]
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Schedules
from crawler.runtime.signals import draining
from crawler.scheduler import Scheduler
from crawler.schedules.timetable import Schedule, Timetable

STAGES = ("take", "taken", "started", "noted", "tidy")
"""Before a tick is taken; after that; after its command has started; after its end is noted; when all is done."""

LEASE_SECONDS = 0.5
POLL_SECONDS = 0.02


class Mortal:
    """The schedules, which kill the process before or after a change to them."""

    def __init__(self, schedules: Schedules, stage: str) -> None:
        self._schedules = schedules
        self._stage = stage
        self.now, self.all, self.get = schedules.now, schedules.all, schedules.get
        self.remove = schedules.remove

    async def replace(self, before: Timetable | None, after: Timetable) -> bool:
        """Die before or after a tick is taken, or after a run has ended."""
        runs, now = (before.runs if before else ()), after.runs
        if len(now) > len(runs):
            die_at("take", self._stage)
        done = await self._schedules.replace(before, after)
        if done and len(now) > len(runs):
            die_at("taken", self._stage)
        if done and len(now) < len(runs):
            die_at("noted", self._stage)
        return done


def die_at(stage: str, wanted: str) -> None:
    if stage == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


def scheduler(schedules: Schedules, log: str, name: str, stage: str = "") -> Scheduler:
    """Make one whose commands write to the log."""

    async def start(schedule: Schedule, job: str) -> asyncio.subprocess.Process:
        line = f'echo "$0" >> {log}; echo; {schedule.command[1]}'
        out = asyncio.subprocess.PIPE if stage == "started" else asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", line, job), start_new_session=True, stdout=out
        )
        if process.stdout is not None:
            await process.stdout.readline()
        die_at("started", stage)
        return process

    async def tidy(table: Timetable) -> None:
        die_at("tidy", stage)

    mortal = Mortal(schedules, stage)
    return Scheduler(
        mortal, start, tidy, name=name, lease_seconds=LEASE_SECONDS, grace_seconds=0.0, poll_seconds=POLL_SECONDS
    )


async def main(url: str, prefix: str, log: str, name: str, stage: str = "") -> int:
    """Run until SIGTERM."""
    async with open_redis(Server(url), prefix=prefix, shards=1) as backend:
        made = scheduler(backend.schedules, log, name, stage)
        with draining(made):
            print("ready", flush=True)
            return await made.run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
