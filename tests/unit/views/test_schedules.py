"""What `schedule list` says of a timetable."""

from __future__ import annotations

import pytest

from crawler.schedules.timetable import Run, Schedule, changed, timetable
from crawler.views.schedules import schedule_in_words

NOW = 1_800_000_000
RUNS = (Run(NOW - 86_400, "s1"),)


@pytest.mark.parametrize(
    ("catch_up", "runs", "paused", "said"),
    [
        (False, (), "", "no scheduler is at work"),
        (False, RUNS, "", "no scheduler is at work"),
        (True, (), "", "no scheduler is at work"),
        (True, RUNS, "by me", "no scheduler is at work"),
        (True, RUNS, "", "one after the other"),
    ],
)
def test_why_a_tick_is_overdue(catch_up: bool, runs: tuple[Run, ...], paused: str, said: str) -> None:
    made = timetable(Schedule("news", "@daily", ("crawl",), catch_up=catch_up), NOW - 3 * 86_400)
    assert said in str(schedule_in_words(changed(made, runs=runs, paused=paused), None, NOW)["overdue"])
