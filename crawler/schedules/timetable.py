"""A schedule, where it stands, and what becomes of each of its ticks.

A timetable is a value. A function here takes one and returns the next; whoever calls it stores that in place of the one
it has read, unless somebody else was faster (`Schedules.replace`). So each tick is decided once, whatever the number of
schedulers: it begins a run, waits for the end of another, or is skipped and counted with the reason.

A run belongs to a scheduler, which renews it. When the scheduler is silent, another one takes the run over and starts
the same command for the same job, which goes on where it was. A run ends when somebody has noted its exit code.

Times are seconds since 1970 by the clock of the queue server.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from crawler.schedules.times import MAX_CRON, Times

MISSED = 60
"""Seconds after which a tick has been missed: a scheduler that is restarted meanwhile misses nothing."""

AT_ONCE = 1_000
"""Ticks that one step may skip, to bound its time."""

ENDS_KEPT = 10
"""Runs that have ended, and ticks that were skipped, of which the timetable keeps the details."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Overlap = Literal["skip", "queue", "replace", "both"]
"""What happens to a tick whose predecessor still runs: it is skipped, it waits (one does), it stops the predecessor and
runs then, or both run."""

Moment = Annotated[int, Meta(ge=0, lt=2**40)]
Word = Annotated[str, Meta(max_length=4096)]

STILL_RUNNING = "the run before had not ended"
ANOTHER_WAITS = "another tick waited already"
REPLACED = "a later tick replaced it"
NO_SCHEDULER = "no scheduler ran"
PAUSED = "the schedule was paused"
OTHER_LINE = "the cron line was changed"


class Schedule(Struct, frozen=True):
    """What a person ordered."""

    name: Annotated[str, Meta(max_length=100)]
    cron: Annotated[str, Meta(max_length=MAX_CRON)]
    command: Annotated[tuple[Word, ...], Meta(max_length=1000)]  # the words of a `crawler` command
    tz: Annotated[str, Meta(max_length=100)] = "UTC"
    overlap: Overlap = "skip"
    catch_up: bool = False  # run missed ticks, one after the other
    keep: Annotated[int, Meta(ge=0, le=1_000_000)] = 5  # jobs kept of those that have ended; 0: all
    origin: str = ""  # the settings file that names it; empty: `schedule add`


class Run(Struct, frozen=True):
    """A tick whose command runs, or should."""

    tick: Moment
    scheduler: str = ""  # who runs it; empty: nobody yet, or no more
    beats: int = 0  # how often that scheduler has renewed it
    takers: int = 1  # schedulers that have run it, this one included, without those that stopped in order
    stop: bool = False  # a later tick replaces it


class End(Struct, frozen=True):
    """A run that has ended."""

    tick: Moment
    code: int  # exit code of its command
    at: Moment
    why: str = ""  # if it was stopped


class Skipped(Struct, frozen=True):
    """A tick that began no run."""

    tick: Moment
    why: str


class Timetable(Struct, frozen=True):
    """A schedule and where it stands."""

    schedule: Schedule
    next: Moment  # the first tick about which nobody has decided
    last: Moment = 0  # the last one about which somebody has; 0: none
    revision: str = ""  # another one for each change
    paused: str = ""  # who paused it, and why; empty: it is not
    runs: tuple[Run, ...] = ()
    waiting: Moment = 0  # a tick that waits for the end of the runs; 0: none
    ends: tuple[End, ...] = ()  # the last ones, the newest first
    skips: tuple[Skipped, ...] = ()  # the same
    skipped: Mapping[str, int] = {}  # reason → ticks, since the schedule was made

    @property
    def name(self) -> str:
        """The schedule's name."""
        return self.schedule.name

    @property
    def times(self) -> Times:
        """Its ticks."""
        return Times(self.schedule.cron, self.schedule.tz)

    def run_of(self, tick: int) -> Run | None:
        """The run of that tick, unless it has ended."""
        return next((run for run in self.runs if run.tick == tick), None)


Change = Callable[[Timetable], Timetable | None]
"""A step; None: it does not apply."""


def problems(schedule: Schedule) -> list[str]:
    """Return all that is wrong with the name and the times of a schedule."""
    wrong = []
    if not NAME.fullmatch(schedule.name):
        wrong.append(f"name {schedule.name!r}: use letters, digits, dot, dash and underscore, at most 100")
    try:
        Times(schedule.cron, schedule.tz)
    except ValueError as error:
        wrong.append(str(error))
    return wrong


def timetable(schedule: Schedule, now: float) -> Timetable:
    """Return the timetable of a new schedule."""
    return changed(Timetable(schedule, Times(schedule.cron, schedule.tz).after(now)))


def changed(table: Timetable, **fields: Any) -> Timetable:
    """Return the timetable with these fields and a revision of its own."""
    return replace(table, revision=secrets.token_hex(8), **fields)


# --- a tick


def settle(table: Timetable, now: float, scheduler: str) -> Timetable | None:
    """Decide about all ticks until `now`, up to one that begins a run. None: there is nothing to decide now."""
    times, before = table.times, table
    for _ in range(AT_ONCE):
        after = _waiting_begun(table, scheduler) or _next_decided(table, times, now, scheduler)
        if after is None:
            break
        table = after
        if len(table.runs) > len(before.runs):
            break
    return None if table is before else changed(table)


def _waiting_begun(table: Timetable, scheduler: str) -> Timetable | None:
    if not table.waiting or table.runs or table.paused:
        return None
    return replace(table, waiting=0, runs=(Run(table.waiting, scheduler),))


def _next_decided(table: Timetable, times: Times, now: float, scheduler: str) -> Timetable | None:
    tick, schedule = table.next, table.schedule
    if tick > now:
        return None
    is_missed = now - tick > MISSED
    passed = replace(table, last=tick, next=times.after(tick))
    if table.paused:
        return _skip(passed, tick, PAUSED)
    if is_missed and not schedule.catch_up:
        return _skip(passed, tick, NO_SCHEDULER)
    if is_missed and table.runs:
        return None  # one after the other
    if not table.runs or schedule.overlap == "both":
        return replace(passed, runs=(*table.runs, Run(tick, scheduler)))
    if schedule.overlap == "skip":
        return _skip(passed, tick, STILL_RUNNING)
    if schedule.overlap == "queue":
        return _skip(passed, tick, ANOTHER_WAITS) if table.waiting else replace(passed, waiting=tick)
    if table.waiting:
        passed = _skip(passed, table.waiting, REPLACED)
    return replace(passed, waiting=tick, runs=tuple(replace(run, stop=True) for run in table.runs))


def _skip(table: Timetable, tick: int, why: str) -> Timetable:
    counts = {**table.skipped, why: table.skipped.get(why, 0) + 1}
    return replace(table, skipped=counts, skips=(Skipped(tick, why), *table.skips)[:ENDS_KEPT])


# --- a run


def begun_now(table: Timetable, now: float, scheduler: str) -> Timetable:
    """Begin a run beside the ticks, because a person wants one now. Its tick is no whole minute and that of no other
    run, so its job is its own."""
    others = {run.tick for run in table.runs} | {end.tick for end in table.ends}
    tick = next(tick for tick in itertools.count(int(now)) if tick % 60 and tick not in others)
    return changed(table, runs=(*table.runs, Run(tick, scheduler)))


def taken_over(table: Timetable, tick: int, scheduler: str) -> Timetable | None:
    """Give the run to another scheduler."""
    run = table.run_of(tick)
    return _with(table, replace(run, scheduler=scheduler, beats=0, takers=run.takers + 1)) if run else None


def renewed(table: Timetable, tick: int, scheduler: str) -> Timetable | None:
    """Show that its scheduler is at work. None: the run is not its own any more."""
    run = table.run_of(tick)
    return _with(table, replace(run, beats=run.beats + 1)) if run and run.scheduler == scheduler else None


def released(table: Timetable, tick: int, scheduler: str, *, in_order: bool) -> Timetable | None:
    """Let another scheduler go on with the run; `in_order`: because its own one stops. None: it was not its own."""
    run = table.run_of(tick)
    if run is None or run.scheduler != scheduler:
        return None
    return _with(table, replace(run, scheduler="", takers=run.takers - in_order))


def ended(table: Timetable, tick: int, scheduler: str, code: int, now: float) -> Timetable | None:
    """Note the exit code of its command. None: the run is not its own any more."""
    run = table.run_of(tick)
    if run is None or run.scheduler != scheduler:
        return None
    end = End(tick, code, int(now), REPLACED if run.stop else "")
    rest = tuple(other for other in table.runs if other.tick != tick)
    return changed(table, runs=rest, ends=(end, *table.ends)[:ENDS_KEPT])


def _with(table: Timetable, run: Run) -> Timetable:
    return changed(table, runs=tuple(run if other.tick == run.tick else other for other in table.runs))


# --- what people change


def pause(table: Timetable, why: str) -> Timetable | None:
    """Let ticks pass without a run. Runs go on. None: it is paused already."""
    return None if table.paused else changed(table, paused=why)


def resumed(table: Timetable, now: float) -> Timetable | None:
    """Begin runs again, from the next tick on. None: it was not paused."""
    return changed(_passed(table, now, PAUSED), paused="") if table.paused else None


def rewritten(table: Timetable, schedule: Schedule, now: float) -> Timetable | None:
    """Put another schedule of the same name in place. None: it is the same."""
    if schedule == table.schedule:
        return None
    if (schedule.cron, schedule.tz) == (table.schedule.cron, table.schedule.tz):
        return changed(table, schedule=schedule)
    passed = _passed(table, now, PAUSED if table.paused else OTHER_LINE)
    return changed(passed, schedule=schedule, next=Times(schedule.cron, schedule.tz).after(now))


def _passed(table: Timetable, now: float, why: str) -> Timetable:
    """Skip all ticks until `now` about which nobody has decided."""
    times = table.times
    while (tick := table.next) <= now:
        table = _skip(replace(table, last=tick, next=times.after(tick)), tick, why)
    return table


# --- jobs


def job_of(name: str, tick: int) -> str:
    """Return the name of a run's job: that of the schedule and its tick in UTC (ISO 8601)."""
    return f"{name}-{datetime.fromtimestamp(tick, UTC):{'%Y%m%dT%H%M%SZ' if tick % 60 else '%Y%m%dT%H%MZ'}}"


def jobs_of(name: str, jobs: list[str]) -> list[str]:
    """Return those of the jobs that are runs of the schedule, the newest first."""
    is_run = re.compile(rf"{re.escape(name)}-\d{{8}}T\d{{4}}(\d\d)?Z").fullmatch
    return sorted(filter(is_run, jobs), key=lambda job: job.removesuffix("Z"), reverse=True)
