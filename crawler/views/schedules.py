"""What a schedule does, in words for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from crawler.errors import Exit
from crawler.program import PROGRAM
from crawler.schedules.timetable import MISSED, Timetable, job_of
from crawler.views.figures import counted, duration, several
from crawler.views.results import JobResult

NEXT_SHOWN = 3
_MEANINGS = {int(code): code.meaning for code in Exit}


def schedule_in_words(table: Timetable, last: JobResult | None, now: float) -> dict[str, object]:
    """Return what it is, when it runs next, how the last run ended, and what was skipped and why."""
    return {name: text for name, text in _lines(table, last, now) if text}


def _lines(table: Timetable, last: JobResult | None, now: float) -> Iterator[tuple[str, str]]:
    schedule, times = table.schedule, table.times
    caught_up = ", catches up" if schedule.catch_up else ""
    yield "when", f"{schedule.cron} ({schedule.tz}), overlap {schedule.overlap}{caught_up}, keep {schedule.keep}"
    yield "command", " ".join(schedule.command)
    yield "paused", table.paused
    ticks = [table.next, *times.next(table.next, NEXT_SHOWN - 1)]
    yield "next", "" if table.paused else ", ".join(map(times.shown, ticks))
    if now - table.next > MISSED:
        waits = schedule.catch_up and table.runs and not table.paused
        why = "missed ticks run one after the other" if waits else f"no scheduler is at work: {PROGRAM} schedule run"
        yield "overdue", f"{duration(now - table.next)}; {why}"
    yield (
        "running",
        "; ".join(
            f"{times.shown(run.tick)}, job {job_of(table.name, run.tick)}, by {run.scheduler or 'nobody at the moment'}"
            for run in table.runs
        ),
    )
    yield "waiting", f"{times.shown(table.waiting)}, for the end of the run" if table.waiting else ""
    yield "last run", _last_run(table, last)
    yield "skipped", _skipped(table)


def _last_run(table: Timetable, last: JobResult | None) -> str:
    if not table.ends:
        return ""
    end = table.ends[0]
    state = f"{last.state}{f' ({last.reason})' if last.reason else ''}, " if last and not end.why else ""
    code = f"exit code {end.code} ({end.why or _MEANINGS.get(end.code, 'it was killed')})"
    took = f"ended after {duration(end.at - end.tick)}"
    return f"{table.times.shown(end.tick)}: {state}{code}, {took}, job {job_of(table.name, end.tick)}"


def _skipped(table: Timetable) -> str:
    if not table.skips:
        return ""
    counts = "; ".join(f"{counted(count)} {why}" for why, count in table.skipped.items())
    newest = table.skips[0]
    total = several(sum(table.skipped.values()), "tick")
    return f"{total}: {counts}. The last: {table.times.shown(newest.tick)}, {newest.why}"


def as_data(table: Timetable, last: JobResult | None) -> dict[str, Any]:
    """Return the same as JSON types. Times are seconds since 1970."""
    data: dict[str, Any] = msgspec.to_builtins(table)
    del data["revision"]
    ticks = [table.next, *table.times.next(table.next, NEXT_SHOWN - 1)]
    return {**data.pop("schedule"), **data, "next": ticks, "last_result": msgspec.to_builtins(last)}
