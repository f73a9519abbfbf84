"""Takes the ticks that are due, runs their commands, and takes over the runs of schedulers that have fallen silent."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import structlog

from crawler.errors import CrawlerError, Exit
from crawler.interfaces import Schedules
from crawler.runtime.patience import OUTAGE, Patience, pause
from crawler.runtime.signals import CODES
from crawler.runtime.tasks import end
from crawler.schedules.timetable import (
    Change,
    Run,
    Schedule,
    Timetable,
    begun_now,
    ended,
    job_of,
    released,
    renewed,
    settle,
    taken_over,
)

log = structlog.get_logger()

POLL_SECONDS = 1.0  # between two polls of the schedules
LATE = 10.0  # seconds beyond the grace time after which a command that was stopped is killed
TAKERS = 20  # times that a run may begin, each because its scheduler died or an outage met it, until it is given up
STOPPED = (*CODES.values(), 128 + signal.SIGKILL)  # exit codes of a command that a signal stopped or killed

Start = Callable[[Schedule, str], Awaitable[asyncio.subprocess.Process]]
"""Starts the command of a schedule for a job, as a process with a group of its own."""


class _Seen(NamedTuple):
    """A run of another scheduler, and since when it has looked like this."""

    run: Run
    since: float


class Scheduler:
    """One scheduler of any number. All do the same work, and none leads the others."""

    def __init__(
        self,
        schedules: Schedules,
        start: Start,
        tidy: Callable[[Timetable], Awaitable[None]],
        *,
        name: str,
        lease_seconds: float,
        grace_seconds: float,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`tidy` deletes jobs of earlier runs when one has ended. `name` is unique. A run that its scheduler has not
        renewed for `lease_seconds` is taken over. `poll_seconds`: between two polls of the schedules."""
        self._schedules = schedules
        self._start = start
        self._tidy = tidy
        self._name = name
        self._lease = lease_seconds
        self._grace = grace_seconds
        self._poll_seconds = min(poll_seconds, lease_seconds / 5)  # often enough to see who renews
        self._patience = Patience("queue_server_away")
        self._is_alone = False  # a person waits for the one run that it attends
        self._attending: dict[tuple[str, int], asyncio.Task[int]] = {}
        self._processes: dict[tuple[str, int], asyncio.subprocess.Process] = {}
        self._error: BaseException | None = None  # what ended an attendance
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._looked = time.monotonic()
        self._stopped = asyncio.Event()
        self.code_of_signal = 0

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self, code: int = 0) -> None:
        """Take no more ticks, and stop the commands: the first call lets them drain, the second makes them stop at
        once. Another scheduler goes on with their runs. `code` is that of the second signal, which changes nothing."""
        self._stopped.set()
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)

    async def run(self) -> int:
        """Work until `stop()`. Returns the exit code."""
        try:
            with suppress(*OUTAGE):  # raised only when it is to stop
                while not self.stopping:
                    tables = await self._patience.until_done(self._schedules.all, self._stopped)
                    now = await self._patience.until_done(self._schedules.now, self._stopped)
                    self._look_at(tables)
                    for table in tables:
                        await self._decide(table, now)
                    if self._error:
                        raise self._error
                    await pause(self._poll_seconds, self._stopped)
            await asyncio.gather(*self._attending.values())
        finally:
            await self._end_all()
        return Exit.DONE

    async def run_once(self, name: str) -> int | None:
        """Run the schedule's command now, whatever its ticks are. Return its exit code; None if there is no such
        schedule, or a run of it has not ended and it does not let two run at once."""
        now = await self._schedules.now()

        def begin(table: Timetable) -> Timetable | None:
            is_free = not table.runs or table.schedule.overlap == "both"
            return begun_now(table, now, self._name) if is_free else None

        self._is_alone = True
        table = await self._change(name, begin)
        if table is None:
            return None
        try:
            return await self._attend(table, table.runs[-1])
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        processes = list(self._processes.values())
        for process in processes:
            _signal(process, signal.SIGKILL)
        await end(*self._attending.values())
        await asyncio.gather(*(process.wait() for process in processes))

    # --- ticks

    async def _decide(self, table: Timetable, now: float) -> None:
        """Attend to the runs that are this scheduler's or nobody's, and decide about the ticks that are due."""
        for run in table.runs:
            if (table.name, run.tick) in self._attending:
                continue
            # If it is this scheduler's, the reply that said so was lost, or it has ended since `table` was read.
            if run.scheduler == self._name or self._is_left(table.name, run):
                await self._take_over(table, run)
                return  # `table` is out of date
        after = settle(table, now, self._name)
        if after is None or not await self._stored(table, after):
            return
        new = sum(after.skipped.values()) - sum(table.skipped.values())
        for skip in after.skips[:new]:
            log.warning("tick_skipped", schedule=table.name, tick=table.times.shown(skip.tick), why=skip.why)
        if new > len(after.skips):
            log.warning("ticks_skipped_before", schedule=table.name, ticks=new - len(after.skips))
        for run in after.runs:
            if table.run_of(run.tick) is None:
                self._begin(after, run)

    async def _stored(self, before: Timetable, after: Timetable) -> bool:
        return await self._patience.until_done(lambda: self._schedules.replace(before, after), self._stopped)

    def _look_at(self, tables: Iterable[Timetable]) -> None:
        """Note since when each run has not changed, by this machine's clock, because that of the server may step.

        After this process, or the server, was away for a while, all schedulers have a whole lease again.
        """
        now = time.monotonic()
        before = self._seen if now - self._looked < self._lease / 2 else {}
        self._seen, self._looked = {}, now
        for table in tables:
            for run in table.runs:
                seen = before.get((table.name, run.tick))
                self._seen[table.name, run.tick] = seen if seen and seen.run == run else _Seen(run, now)

    def _is_left(self, name: str, run: Run) -> bool:
        """Whether nobody runs it: its scheduler let it go, or has not renewed it for a lease."""
        return not run.scheduler or self._looked - self._seen[name, run.tick].since > self._lease

    async def _take_over(self, table: Timetable, run: Run) -> None:
        after = taken_over(table, run.tick, self._name)
        if after is not None and await self._stored(table, after):
            log.warning("run_taken_over", job=job_of(table.name, run.tick), before=run.scheduler or None)
            self._begin(after, after.run_of(run.tick) or run)

    # --- runs

    def _begin(self, table: Timetable, run: Run) -> None:
        key = (table.name, run.tick)
        self._attending[key] = task = asyncio.create_task(self._attend(table, run))
        task.add_done_callback(partial(self._attended, key))

    def _attended(self, key: tuple[str, int], task: asyncio.Task[int]) -> None:
        self._attending.pop(key, None)
        if not task.cancelled() and (error := task.exception()):
            self._error = error  # for `run` to raise

    async def _attend(self, table: Timetable, run: Run) -> int:
        """Run the command to its end, and note its exit code. Return it."""
        job = job_of(table.name, run.tick)
        code, is_ours = await self._command(table, run, job)
        log.info("run_ended", job=job, code=code)
        with suppress(*OUTAGE):  # raised only when this process is to stop; the lease then says that the run is left
            if not is_ours:
                log.warning("run_lost", job=job, why="its schedule was removed, or another scheduler has taken it over")
            elif self._is_interrupted(code) and not self._is_alone:
                in_order = code != Exit.UNREACHABLE
                release = partial(released, tick=run.tick, scheduler=self._name, in_order=in_order)
                await self._change(table.name, release)
            else:
                await self._end(table.name, run.tick, code)
        return code

    def _is_interrupted(self, code: int) -> bool:
        """Whether a command with this exit code has more to do: it was stopped, or an outage met it as it began."""
        return code == Exit.UNREACHABLE or (self.stopping and code in STOPPED)

    async def _end(self, name: str, tick: int, code: int) -> None:
        now = await self._patience.until_done(self._schedules.now, self._stopped)
        after = await self._change(name, partial(ended, tick=tick, scheduler=self._name, code=code, now=now))
        if after is not None:
            await self._patience.until_done(lambda: self._tidy(after), self._stopped)

    async def _command(self, table: Timetable, run: Run, job: str) -> tuple[int, bool]:
        """Run the command and renew the run. Return its exit code, and whether the run is still this scheduler's."""
        if run.takers > TAKERS:
            log.error(
                "run_given_up", job=job, why=f"begun {TAKERS} times; each time its scheduler died or an outage met it"
            )
            return Exit.FAILED, True
        if run.stop:
            return Exit.TERMINATED, True
        try:
            process = await self._start(table.schedule, job)
        except (OSError, CrawlerError) as error:  # this machine has no more processes, or the command is none
            log.error("run_not_started", job=job, why=str(error))
            return error.exit_code if isinstance(error, CrawlerError) else Exit.TRY_LATER, True
        key = (table.name, run.tick)
        self._processes[key] = process
        log.info("run_begun", job=job, tick=table.times.shown(run.tick), pid=process.pid)
        try:
            is_ours = await self._renew_while(process, table.name, run.tick)
            return _exit_code(process), is_ours
        finally:
            _signal(process, signal.SIGKILL)
            del self._processes[key]

    async def _renew_while(self, process: asyncio.subprocess.Process, name: str, tick: int) -> bool:
        """Renew the run until its command has ended. Stop the command if the run is to end, or belongs to another.
        Return whether it is still this scheduler's."""
        ending = asyncio.create_task(process.wait())
        is_ours, must_stop, stopped_at = True, self.stopping, 0.0
        try:
            while not ending.done():
                if (must_stop or self.stopping) and not stopped_at:
                    stopped_at = time.monotonic()
                    if must_stop:  # else `stop` has told it; a second signal would make it stop at once
                        _signal(process, signal.SIGTERM)
                if stopped_at and time.monotonic() - stopped_at > self._grace + LATE:
                    _signal(process, signal.SIGKILL)
                await asyncio.wait({ending}, timeout=self._lease / 5)
                if is_ours and not ending.done():
                    with suppress(*OUTAGE):  # raised only when this process is to stop
                        table = await self._change(name, partial(renewed, tick=tick, scheduler=self._name))
                        run = table.run_of(tick) if table else None
                        is_ours = run is not None
                        must_stop = run is None or run.stop
        finally:
            await end(ending)
        return is_ours

    async def _change(self, name: str, change: Change) -> Timetable | None:
        """Apply a change to the newest timetable, and again whenever somebody else was faster. Return what was
        stored."""
        while True:
            table = await self._patience.until_done(lambda: self._schedules.get(name), self._stopped)
            if table is None or (after := change(table)) is None:
                return None
            if await self._stored(table, after):
                return after


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to the command, or SIGKILL to its whole group."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGKILL else os.kill)(process.pid, number)


def _exit_code(process: asyncio.subprocess.Process) -> int:
    """Return the exit code as a shell reports it: 128 + the number of the signal that killed it."""
    code = process.returncode
    return Exit.FAILED if code is None else code if code >= 0 else 128 - code
