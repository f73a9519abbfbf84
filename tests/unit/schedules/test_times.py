"""The ticks of cron lines, also where the clocks change, and what is said about lines and zones that are none."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.schedules.times import SHORT, Times

BERLIN = "Europe/Berlin"  # 2026: forward on 29 March, 02:00 → 03:00; back on 25 October, 03:00 → 02:00
NEW_YORK = "America/New_York"  # 2026: forward on 8 March, 02:00 → 03:00; back on 1 November, 02:00 → 01:00


def ticks(cron: str, zone: str, after: str, count: int = 3) -> list[str]:
    """The next ticks as local time with its offset."""
    times = Times(cron, zone)
    return [times.shown(tick) for tick in times.next(datetime.fromisoformat(after).timestamp(), count)]


def test_a_tick_comes_strictly_after_the_moment() -> None:
    assert ticks("*/15 * * * *", "UTC", "2026-11-29T12:15+00:00", 1) == ["2026-11-29 12:30 +0000"]
    assert ticks("*/15 * * * *", "UTC", "2026-11-29T12:14:59.9+00:00", 1) == ["2026-11-29 12:15 +0000"]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "wanted"),
    [
        # the hour that is skipped: once, as soon as the clocks have changed
        ("30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00-05:00", ["2026-03-08 03:00 -0400", "2026-03-09 02:30 -0400"]),
        ("0,30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"]),
        # the hour that comes twice: the first time
        ("30 2 * * *", BERLIN, "2026-10-24T12:00+02:00", ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00-04:00", ["2026-11-01 01:30 -0400", "2026-11-02 01:30 -0500"]),
        # asked in the middle of the second time, when the first one is over
        ("30 2 * * *", BERLIN, "2026-10-25T02:15+01:00", ["2026-10-26 02:30 +0100", "2026-10-27 02:30 +0100"]),
        # the time that passes
        ("*/30 * * * *", BERLIN, "2026-03-29T01:10+01:00", ["2026-03-29 01:30 +0100", "2026-03-29 03:00 +0200"]),
        ("0 */2 * * *", NEW_YORK, "2026-10-31T23:10-04:00", ["2026-11-01 00:00 -0400", "2026-11-01 02:00 -0500"]),
    ],
)
def test_the_change_of_the_clocks(cron: str, zone: str, after: str, wanted: list[str]) -> None:
    assert ticks(cron, zone, after, len(wanted)) == wanted


def test_half_an_hour_comes_twice_for_a_line_that_follows_the_time() -> None:
    assert ticks("*/30 * * * *", BERLIN, "2026-10-25T02:10+02:00", 4) == [
        *("2026-10-25 02:30 +0200", "2026-10-25 02:00 +0100", "2026-10-25 02:30 +0100", "2026-10-25 03:00 +0100")
    ]


@given(
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "15 1,2,3 * * *", "0 */3 * * *", "*/20 2 * * *", "5 2 * * SUN"]),
    st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "UTC"]),
    st.integers(1_767_225_600, 1_798_761_600),  # 2026
)
def test_going_on_from_each_tick_skips_and_repeats_none(cron: str, zone: str, moment: int) -> None:
    """A scheduler computes each tick from the one before; another may have begun anywhere in between."""
    times = Times(cron, zone)
    found = times.next(moment, 8)
    assert all(one < other for one, other in pairwise([moment, *found]))
    assert all(times.after(other - 1) == other for other in found)


@pytest.mark.parametrize("name", SHORT)
def test_the_names_of_cron(name: str) -> None:
    assert Times(name.upper()).after(0) == Times(SHORT[name]).after(0)


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [
        ("* * * *", "UTC", ["has 4 fields", "in quotes"]),
        ("0 * * * * *", "UTC", ["has 6 fields"]),
        ("61 * * * *", "UTC", ["bad minute"]),
        ("0 0 31 4 *", "UTC", ["bad day-of-month"]),
        ("* * * * MON#1/2", "UTC", ["cron line"]),
        ("@often", "UTC", ["@hourly"]),
        ("*," * 200 + "* * * * *", "UTC", ["at most 200"]),
        ("", "UTC", ["has 0 fields"]),
        ("* * * * *", "Mars/Olympus", ["'Mars/Olympus' is unknown", "Europe/Berlin"]),
        ("* * * * *", "../etc/passwd", ["unknown"]),
        ("* * * * *", "Europe", ["unknown"]),
        ("x * * * *", "Mars/Olympus", ["bad minute", "Mars/Olympus"]),  # all that is wrong at once
    ],
)
def test_what_is_no_line_or_no_zone(cron: str, zone: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        Times(cron, zone)
    assert [word for word in words if word not in str(raised.value)] == []


def test_a_machine_without_time_zones_is_told_what_to_install() -> None:
    code = (
        "import sys, zoneinfo; zoneinfo.reset_tzpath(to=[]); sys.modules['tzdata'] = None\n"
        "from crawler.schedules.times import Times\n"
        "Times('* * * * *')\n"
        "try: Times('* * * * *', 'Europe/Berlin')\n"
        "except ValueError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install tzdata" in said
