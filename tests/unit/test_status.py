"""Words for hosts and times."""

from __future__ import annotations

import time

import pytest

from crawler.status import clock, ordinal, why_resting

NOON = time.mktime((2026, 3, 2, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "12:00:03"), (60, "12:01"), (7_200, "14:00"), (43_200, "2026-03-03 00:00")]
)
def test_a_time_is_told_by_the_local_clock(seconds: float, text: str) -> None:
    assert clock(NOON, seconds) == text


@pytest.mark.parametrize(
    ("cause", "times", "asked", "text"),
    [
        ("http_503", 3, False, "answered 503 (3rd time)"),
        ("http_429", 1, True, "answered 429 and said when to come back (1st time)"),
        ("timeout", 12, False, "cannot be reached: it does not answer in time (12th time)"),
        ("dns", 2, False, "cannot be reached: its name has no address (2nd time)"),
        ("", 0, False, "cannot be reached: why is not known"),  # put to rest by an older worker
    ],
)
def test_why_a_host_rests(cause: str, times: int, asked: bool, text: str) -> None:
    assert why_resting(cause, times, asked=asked) == text


def test_ordinals() -> None:
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"),
    ]
