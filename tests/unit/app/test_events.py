"""What happened to a job between two polls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from crawler.app.events import JobWatcher, events_between
from crawler.runtime.tasks import end
from crawler.status import HostTurn, HostView, JobStats, Pause

RUNNING = JobStats("news", at=1_800_000_000.0)
PAUSED = replace(RUNNING, paused=(Pause("host", "a.example", "20 of 20 failed", 0.0),))
RESTING = replace(RUNNING, resting=(HostView("a.example", 3, HostTurn(rest=60.0, cause="http_503", rests=1)),))
FINISHED = replace(RUNNING, finished=True, counters={"pages": 7, "items": 5, "cut/links": 2}, dead=1)


def names(before: JobStats | None, now: JobStats) -> list[str]:
    return [event for event, _ in events_between(before, now)]


def test_each_change_is_told_once() -> None:
    assert names(None, RUNNING) == ["started"]
    assert names(RUNNING, RUNNING) == []
    assert names(RUNNING, PAUSED) == ["paused"]
    assert names(PAUSED, PAUSED) == []
    assert names(PAUSED, RUNNING) == ["resumed"]
    assert names(RUNNING, RESTING) == ["host_rests"]
    assert names(RESTING, RUNNING) == ["host_is_back"]
    assert names(RUNNING, FINISHED) == ["finished"]
    assert names(FINISHED, FINISHED) == []


def test_a_job_that_was_finished_before_tells_nothing() -> None:
    assert names(None, FINISHED) == []


def test_the_facts_of_events() -> None:
    ((_, paused),) = events_between(RUNNING, PAUSED)
    assert paused == {"what": "host", "name": "a.example", "why": "20 of 20 failed"}
    ((_, rests),) = events_between(RUNNING, RESTING)
    assert (rests["host"], rests["seconds"], "answered 503" in rests["why"]) == ("a.example", 60.0, True)
    ((_, finished),) = events_between(RUNNING, FINISHED)
    assert finished == {"pages": 7, "items": 5, "dead": 1, "lost": {"cut/links": 2}}


async def test_what_a_poll_had_no_time_to_tell_is_told_by_the_last_one() -> None:
    told: list[str] = []
    asked = asyncio.Event()

    async def stats() -> JobStats:
        return next(seen)

    async def publish(event: str, facts: Mapping[str, Any]) -> None:
        told.append(event)
        if event == "paused":
            asked.set()
            await asyncio.Event().wait()

    seen = iter([RUNNING, replace(RESTING, paused=PAUSED.paused), FINISHED])
    watcher = JobWatcher(stats, publish)
    await watcher.once()
    watching = asyncio.create_task(watcher.once())
    await asked.wait()
    await end(watching)
    await watcher.once()
    assert told == ["started", "paused", "host_rests", "resumed", "host_is_back", "finished"]
    assert not watcher.untold


async def test_nothing_is_told_before_the_exporter_has_begun() -> None:
    """Another process may be the job's exporter, and would tell the same."""
    told: list[str] = []

    async def stats() -> JobStats:
        return RUNNING

    async def publish(event: str, facts: Mapping[str, Any]) -> None:
        told.append(event)
        heard.set()

    begun, heard = asyncio.Event(), asyncio.Event()
    watching = asyncio.create_task(JobWatcher(stats, publish).for_ever(begun))
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == []
    begun.set()
    await heard.wait()
    await end(watching)
    assert told == ["started"]
