"""When a scheduler takes another one for dead."""

from __future__ import annotations

import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from crawler.scheduler import Scheduler
from crawler.schedules.timetable import Run, Schedule, Timetable, changed, timetable

LEASE = 10.0
POLL_SECONDS = LEASE / 5


class Watch:
    """A scheduler that looks at the run of another one, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        nothing: Any = None
        self._scheduler = Scheduler(
            *(nothing, nothing, nothing), name="s1", lease_seconds=LEASE, grace_seconds=0.0, poll_seconds=POLL_SECONDS
        )

    def left(self, seconds: float, run: Run) -> bool:
        """Look after that time. Return whether nobody runs it."""
        self.now += seconds
        self._scheduler._look_at([table(run)])
        return self._scheduler._is_left("news", run)


def table(run: Run) -> Timetable:
    return changed(timetable(Schedule("news", "@daily", ("crawl",)), 0), runs=(run,))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def test_one_that_does_not_renew_for_a_lease_is_dead(watch: Watch) -> None:
    assert [watch.left(POLL_SECONDS, Run(60, "s2")) for _ in range(7)] == [False] * 6 + [True]


def test_one_that_renews_is_alive(watch: Watch) -> None:
    assert not any(watch.left(POLL_SECONDS, Run(60, "s2", beats=number // 4)) for number in range(40))


def test_after_an_outage_each_has_a_whole_lease_again(watch: Watch) -> None:
    assert [watch.left(seconds, Run(60, "s2")) for seconds in (POLL_SECONDS, POLL_SECONDS, 60.0)] == [False] * 3
    assert [watch.left(POLL_SECONDS, Run(60, "s2")) for _ in range(6)] == [False] * 5 + [True]


def test_a_run_that_was_let_go_is_nobodys_at_once(watch: Watch) -> None:
    assert watch.left(POLL_SECONDS, Run(60, ""))


class Stored:
    """Schedules that take each timetable."""

    async def replace(self, before: Timetable, after: Timetable) -> bool:
        return True


@pytest.mark.parametrize(("missed", "told", "more"), [(3, 3, []), (10, 10, []), (50, 10, [40])])
async def test_of_many_ticks_that_are_skipped_at_once_the_last_are_named_and_the_others_counted(
    missed: int, told: int, more: list[int]
) -> None:
    stored: Any = Stored()
    nothing: Any = None
    scheduler = Scheduler(stored, nothing, nothing, name="s1", lease_seconds=LEASE, grace_seconds=0.0)
    daily = timetable(Schedule("news", "@daily", ("crawl",)), 0)
    with capture_logs() as logs:
        await scheduler._decide(daily, missed * 86_400 + 3_600)
    assert [one["event"] for one in logs].count("tick_skipped") == told
    assert [one["ticks"] for one in logs if one["event"] == "ticks_skipped_before"] == more
