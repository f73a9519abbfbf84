"""The `schedule` command's work: keeps the schedules of settings.py in the frontier, and runs a scheduler."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

import structlog
from msgspec.structs import replace

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.jobs import why_kept
from crawler.errors import ConfigError
from crawler.interfaces import Backend, Jobs, Reading, Schedules
from crawler.program import PROGRAM
from crawler.runtime.signals import draining
from crawler.runtime.startup import PARENT
from crawler.scheduler import Scheduler, Start
from crawler.schedules.given import from_settings
from crawler.schedules.timetable import Schedule, Timetable, job_of, jobs_of, rewritten, timetable
from crawler.schedules.words import wrong_words
from crawler.settings import SCHEDULED
from crawler.worker.supervisor import worker_name

log = structlog.get_logger()


async def run_schedules(config: Config, overrides: Mapping[str, str]) -> int:
    """Run a scheduler until it is stopped. Return the exit code. The commands that it starts get the `overrides`."""
    async with connect(config) as connected:
        await keep_those_of_settings(config, connected.schedules)
        scheduler = _scheduler(config, connected, overrides)
        names = [table.name for table in await connected.schedules.all()]
        log.info("scheduling", schedules=names)
        if not names:
            log.warning("no_schedules", add=f"{PROGRAM} schedule add NAME CRON -- crawl URL")
        with draining(scheduler):
            return await scheduler.run()


async def run_now(config: Config, name: str, overrides: Mapping[str, str]) -> int | None:
    """Run the command of a schedule once and return its exit code; None if a run of it has not ended, or if there is no
    schedule of that name."""
    async with connect(config) as connected:
        scheduler = _scheduler(config, connected, overrides)
        with draining(scheduler):
            return await scheduler.run_once(name)


async def keep_those_of_settings(config: Config, schedules: Schedules) -> None:
    """Store the schedules of this folder's SCHEDULES, and remove stored ones that SCHEDULES no longer names.

    Raise `ConfigError` if `schedule add` has made one with a name that SCHEDULES has as well.
    """
    origin = str(config.folder)
    wanted = {name: from_settings(name, fields, origin) for name, fields in config.settings.SCHEDULES.items()}
    for table in await schedules.all():
        if table.name in wanted and not table.schedule.origin:
            raise ConfigError(
                f"SCHEDULES names {table.name}, and so does a `schedule add`; "
                f"remove one: {PROGRAM} schedule remove {table.name}"
            )
        if table.schedule.origin == origin and table.name not in wanted:
            await schedules.remove(table.name)
            log.info("schedule_removed", schedule=table.name, why="SCHEDULES no longer names it")
    for schedule in wanted.values():
        await _keep(schedules, schedule)


async def _keep(schedules: Schedules, schedule: Schedule) -> None:
    while True:
        before, now = await schedules.get(schedule.name), await schedules.now()
        after = rewritten(before, schedule, now) if before else timetable(schedule, now)
        if after is None or await schedules.replace(before, after):
            break
    theirs = before.schedule if before else schedule
    if theirs.origin != schedule.origin and replace(theirs, origin=schedule.origin) != schedule:
        log.warning(
            "schedule_replaced",
            schedule=schedule.name,
            of=theirs.origin,
            by=schedule.origin,
            why="two folders name it, and the scheduler that started last decides; rename one of them",
        )


def _scheduler(config: Config, connected: Backend, overrides: Mapping[str, str]) -> Scheduler:
    told: set[str] = set()

    async def tidy(table: Timetable) -> None:
        await _delete_old_jobs(connected.jobs, connected.reading, table, told)

    return Scheduler(
        connected.schedules,
        _start(config, overrides),
        tidy,
        name=worker_name(),
        lease_seconds=config.settings.LEASE_SECONDS,
        grace_seconds=config.settings.GRACE_SECONDS,
    )


def _start(config: Config, overrides: Mapping[str, str]) -> Start:
    """Return what starts a command with this process's settings, in this folder."""
    environment = {
        **os.environ,
        **{f"CRAWLER_{name}": value for name, value in overrides.items()},
        PARENT: str(os.getpid()),
    }
    quiet = () if config.settings.LOG_LEVEL == "DEBUG" else ("-q",)

    async def start(schedule: Schedule, job: str) -> asyncio.subprocess.Process:
        if wrong := list(wrong_words(schedule.command, SCHEDULED)):
            raise ConfigError(f"schedule {schedule.name}: {'; '.join(wrong)}")
        command, *words = schedule.command
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "crawler", *quiet, command, "--job", job, *words),
            stdin=asyncio.subprocess.DEVNULL,
            env=environment,
            cwd=config.folder,
            start_new_session=True,  # a Ctrl-C in the terminal is for the scheduler, which passes it on
        )

    return start


async def _delete_old_jobs(jobs: Jobs, reading: Reading, table: Timetable, told: set[str]) -> None:
    """Delete the jobs of earlier runs that are finished and exported, except the newest `keep`. Tell which have items
    that would be lost, except those that were `told` before."""
    if not table.schedule.keep:
        return
    found = {job.name: job for job in await jobs.all()}
    at_work = {job_of(table.name, run.tick) for run in table.runs}
    for name in jobs_of(table.name, list(found))[table.schedule.keep :]:
        stats = await reading.stats(found[name])
        if name in at_work or not stats.finished:
            continue
        if not (why := why_kept(stats)):
            await jobs.delete(name)
            log.info("job_deleted", job=name, why=f"schedule {table.name} keeps {table.schedule.keep}")
        elif name not in told:
            log.warning("job_kept", job=name, why=why, otherwise=f"{PROGRAM} jobs delete {name} --force")
            told.add(name)
