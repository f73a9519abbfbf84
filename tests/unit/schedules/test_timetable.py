"""What becomes of each tick of a schedule, and of each run."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from crawler.schedules.timetable import (
    ANOTHER_WAITS,
    AT_ONCE,
    ENDS_KEPT,
    MISSED,
    NO_SCHEDULER,
    OTHER_LINE,
    PAUSED,
    REPLACED,
    STILL_RUNNING,
    End,
    Run,
    Schedule,
    Timetable,
    begun_now,
    ended,
    job_of,
    jobs_of,
    pause,
    problems,
    released,
    renewed,
    resumed,
    rewritten,
    settle,
    taken_over,
    timetable,
)

T0 = 1_800_000_000 - 1_800_000_000 % 3600  # an hour
QUARTER = 900
HOURS_LATE = T0 + 4 * 3600 + 1


def made(now: float = T0 - 1, **fields: Any) -> Timetable:
    """Of every quarter of an hour, new at `now`."""
    return timetable(Schedule("news", "*/15 * * * *", ("crawl", "http://a.example/"), **fields), now)


def at(table: Timetable, now: float, scheduler: str = "s1") -> Timetable:
    """What becomes of it at that time."""
    after = settle(table, now, scheduler)
    assert after is not None
    return after


def running(**fields: Any) -> Timetable:
    """With a run of the first tick."""
    return at(made(**fields), T0)


def test_a_tick_that_is_not_due_is_left_alone() -> None:
    assert made().next == T0
    assert settle(made(), T0 - 0.1, "s1") is None


def test_a_tick_begins_a_run_of_who_took_it() -> None:
    table = running()
    assert table.runs == (Run(T0, "s1"),)
    assert (table.next, table.last) == (T0 + QUARTER, T0)


def test_each_change_has_a_revision_of_its_own() -> None:
    one, other = at(made(), T0), at(made(), T0)
    assert len({made().revision, one.revision, other.revision}) == 3


def test_when_the_clock_steps_back_no_tick_comes_again() -> None:
    table = ended(running(), T0, "s1", 0, T0 + 1)
    assert table is not None
    assert settle(table, T0 - 3600, "s1") is None
    assert settle(table, T0 + 1, "s1") is None
    assert at(table, T0 + QUARTER).runs == (Run(T0 + QUARTER, "s1"),)


# --- overlap


def test_skip_leaves_out_the_tick_whose_predecessor_runs() -> None:
    table = at(running(), T0 + QUARTER)
    assert [run.tick for run in table.runs] == [T0]
    assert table.skipped == {STILL_RUNNING: 1}
    assert [(skip.tick, skip.why) for skip in table.skips] == [(T0 + QUARTER, STILL_RUNNING)]


def test_both_run() -> None:
    table = at(running(overlap="both"), T0 + QUARTER, "s2")
    assert table.runs == (Run(T0, "s1"), Run(T0 + QUARTER, "s2"))


def test_queue_lets_one_wait() -> None:
    table = at(at(running(overlap="queue"), T0 + QUARTER), T0 + 2 * QUARTER)
    assert [run.tick for run in table.runs] == [T0]
    assert table.waiting == T0 + QUARTER
    assert table.skipped == {ANOTHER_WAITS: 1}
    rest = ended(table, T0, "s1", 0, T0 + 2 * QUARTER + 1)
    assert rest is not None
    begun = at(rest, T0 + 2 * QUARTER + 2, "s2")
    assert (begun.runs, begun.waiting) == ((Run(T0 + QUARTER, "s2"),), 0)


def test_replace_stops_the_run_and_then_begins_the_newest() -> None:
    table = at(at(running(overlap="replace"), T0 + QUARTER), T0 + 2 * QUARTER)
    assert table.runs == (Run(T0, "s1", stop=True),)
    assert table.waiting == T0 + 2 * QUARTER
    assert table.skipped == {REPLACED: 1}
    rest = ended(table, T0, "s1", 143, T0 + 2 * QUARTER + 1)
    assert rest is not None
    assert rest.ends == (End(T0, 143, T0 + 2 * QUARTER + 1, REPLACED),)
    assert at(rest, T0 + 2 * QUARTER + 2).runs == (Run(T0 + 2 * QUARTER, "s1"),)


# --- missed ticks


def test_a_tick_found_late_is_skipped_and_counted() -> None:
    table = at(made(), HOURS_LATE)
    assert table.skipped == {NO_SCHEDULER: 16}
    assert len(table.skips) == ENDS_KEPT
    assert [run.tick for run in table.runs] == [T0 + 16 * QUARTER], "this one is in time"


@pytest.mark.parametrize(("late", "runs"), [(MISSED, 1), (MISSED + 1, 0)])
def test_a_tick_found_soon_enough_runs(late: int, runs: int) -> None:
    assert len(at(made(), T0 + late).runs) == runs


def test_missed_ticks_run_one_after_the_other_when_asked_for() -> None:
    table, done = made(catch_up=True), []
    while (after := settle(table, HOURS_LATE, "s1")) is not None:
        (run,) = after.runs
        assert settle(after, HOURS_LATE, "s2") is None or after.next > HOURS_LATE - MISSED
        rest = ended(after, run.tick, "s1", 0, HOURS_LATE)
        assert rest is not None
        done.append(run.tick)
        table = rest
    assert done == [T0 + QUARTER * number for number in range(17)]
    assert table.skipped == {}


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace", "both"])
def test_a_missed_tick_that_catches_up_waits_whatever_the_overlap(overlap: str) -> None:
    table = at(made(catch_up=True, overlap=overlap), HOURS_LATE)
    assert settle(table, HOURS_LATE, "s2") is None


def test_one_step_is_bounded_and_the_next_goes_on() -> None:
    minutely = timetable(Schedule("news", "* * * * *", ("crawl",)), T0 - 1)
    now = T0 + 60 * (AT_ONCE + 5)
    once = at(minutely, now)
    assert once.skipped == {NO_SCHEDULER: AT_ONCE}
    assert not once.runs
    assert len(at(once, now).runs) == 1


# --- pauses


def test_ticks_pass_while_it_is_paused() -> None:
    table = pause(made(catch_up=True), "by me")
    assert table is not None
    assert pause(table, "again") is None
    passed = at(table, HOURS_LATE)
    assert (passed.skipped, passed.runs) == ({PAUSED: 17}, ())
    again = resumed(passed, HOURS_LATE)
    assert again is not None
    assert resumed(again, HOURS_LATE) is None
    assert settle(again, HOURS_LATE, "s1") is None
    assert len(at(again, again.next).runs) == 1


def test_ticks_that_no_scheduler_saw_pass_are_counted_when_it_goes_on() -> None:
    table = pause(made(catch_up=True), "by me")
    assert table is not None
    again = resumed(table, HOURS_LATE)
    assert again is not None
    assert (again.skipped, again.next, again.last) == ({PAUSED: 17}, T0 + 17 * QUARTER, T0 + 16 * QUARTER)


def test_a_tick_that_waits_stays_where_it_is_while_paused() -> None:
    table = pause(at(running(overlap="queue"), T0 + QUARTER), "by me")
    assert table is not None
    rest = ended(table, T0, "s1", 0, T0 + QUARTER)
    assert rest is not None
    assert settle(rest, T0 + QUARTER, "s1") is None
    again = resumed(rest, T0 + QUARTER)
    assert again is not None
    assert at(again, T0 + QUARTER).runs == (Run(T0 + QUARTER, "s1"),)


# --- runs


def test_a_run_belongs_to_one_scheduler() -> None:
    table = taken_over(running(), T0, "s2")
    assert table is not None
    assert table.runs == (Run(T0, "s2", takers=2),)
    assert renewed(table, T0, "s1") is None
    assert released(table, T0, "s1", in_order=True) is None
    assert ended(table, T0, "s1", 0, T0) is None
    beaten = renewed(table, T0, "s2")
    assert beaten is not None
    assert beaten.runs == (Run(T0, "s2", beats=1, takers=2),)


@pytest.mark.parametrize(("in_order", "takers"), [(True, 1), (False, 2)])
def test_a_run_that_its_scheduler_lets_go_is_nobodys_and_counts_unless_that_stops(in_order: bool, takers: int) -> None:
    table = released(running(), T0, "s1", in_order=in_order)
    assert table is not None
    assert table.runs == (Run(T0, "", takers=takers - 1),)
    assert table.ends == ()
    table = taken_over(table, T0, "s2")
    assert table is not None
    assert table.runs == (Run(T0, "s2", takers=takers),)


def test_a_run_ends_once_and_the_last_ones_are_kept() -> None:
    table: Timetable | None = running(overlap="both")
    for number in range(ENDS_KEPT + 2):
        assert table is not None
        table = ended(table, T0 + number * QUARTER, "s1", number, T0 + number * QUARTER)
        assert table is not None
        assert ended(table, T0 + number * QUARTER, "s1", 9, T0) is None
        table = at(table, T0 + (number + 1) * QUARTER)
    assert table is not None
    assert [end.code for end in table.ends] == list(range(ENDS_KEPT + 1, 1, -1))


def test_a_run_that_a_person_wants_now_is_no_tick() -> None:
    table = begun_now(made(), T0, "s1")
    (run,) = table.runs
    assert run.tick == T0 + 1
    assert (table.next, table.last) == (T0, 0)


def test_no_two_runs_of_one_second_share_a_job() -> None:
    twice = begun_now(begun_now(made(), T0 + 58, "s1"), T0 + 58, "s2")
    assert twice.runs == (Run(T0 + 58, "s1"), Run(T0 + 59, "s2"))
    rest = ended(twice, T0 + 58, "s1", 0, T0 + 58)
    assert rest is not None
    assert begun_now(rest, T0 + 58, "s3").runs[1:] == (Run(T0 + 61, "s3"),)


# --- another schedule of the name


def test_a_schedule_that_is_the_same_changes_nothing() -> None:
    table = running()
    assert rewritten(table, table.schedule, T0 + 5) is None


def test_another_command_keeps_the_next_tick_and_another_line_has_its_own() -> None:
    table = made()
    other = rewritten(table, replace(table.schedule, command=("crawl", "http://b.example/")), HOURS_LATE)
    assert other is not None
    assert other.next == T0, "it was missed, and somebody must say so"
    daily = rewritten(table, replace(table.schedule, cron="0 0 * * *"), HOURS_LATE)
    assert daily is not None
    assert daily.next > HOURS_LATE
    assert daily.skipped == {OTHER_LINE: 17}
    paused = pause(table, "by me")
    assert paused is not None
    other = rewritten(paused, replace(table.schedule, tz="Europe/Berlin"), HOURS_LATE)
    assert other is not None
    assert other.skipped == {PAUSED: 17}


# --- names


def test_the_job_is_named_by_the_tick_in_utc() -> None:
    assert job_of("news", 1_795_954_500) == "news-20261129T1215Z"
    assert job_of("news", 1_795_954_501) == "news-20261129T121501Z"


def test_the_jobs_of_a_schedule_are_those_of_its_name() -> None:
    jobs = ["news-20261129T1215Z", "news-2-20261129T1215Z", "news", "news-20261129T121501Z", "news-x", "a.news"]
    assert jobs_of("news", jobs) == ["news-20261129T121501Z", "news-20261129T1215Z"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = problems(Schedule("a b", "x * * * *", (), tz="Mars"))
    assert len(wrong) == 2
    assert "'a b'" in wrong[0]
    assert "bad minute" in wrong[1]
    assert "Mars" in wrong[1]
