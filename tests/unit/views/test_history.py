"""The rates of a crawl, and what can be said about its end."""

from __future__ import annotations

import pytest

from crawler.status import JobStats
from crawler.views.history import History, Momentum


def after(seconds: int, *, fetched: float, found: float, known: int = 1_000) -> Momentum:
    """The momentum of a crawl that fetches and finds so many URLs a second, from `known` on."""
    history, momentum = History(), Momentum()
    for at in range(seconds + 1):
        pages = int(fetched * at)
        counters = {"pages": pages, "bytes": 1_000 * pages}
        momentum = history.add(float(at), JobStats("j", known=known + int(found * at), done=pages, counters=counters))
    return momentum


@pytest.mark.parametrize(
    ("fetched", "found", "left"),
    [
        (10.0, 0.0, 70.0),  # 700 are left
        (10.0, 5.0, 170.0),  # 850 are left, and 5 fewer each second
        (10.0, 9.5, None),  # nearly as many are found as fetched
        (10.0, 30.0, None),
        (0.0, 0.0, None),
    ],
)
def test_the_end_counts_what_is_still_found(fetched: float, found: float, left: float | None) -> None:
    assert after(30, fetched=fetched, found=found).seconds_left == left


def test_there_is_no_estimate_after_a_few_seconds() -> None:
    assert after(9, fetched=10.0, found=0.0).seconds_left is None


def test_only_the_last_minute_counts() -> None:
    """Discovery that is over no longer spoils the estimate."""
    history, momentum = History(), Momentum()
    for at in range(120):
        found = 10_000 if at > 50 else 200 * at
        momentum = history.add(float(at), JobStats("j", known=found, done=10 * at))
    assert momentum.seconds_left == pytest.approx((10_000 - 1_190) / 10)


def test_rates_and_their_trend() -> None:
    momentum = after(60, fetched=10.0, found=0.0)
    assert (momentum.pages_per_second, momentum.bytes_per_second) == (10.0, 10_000.0)
    assert momentum.trend == (10.0,) * 20
    assert History().add(0.0, JobStats("j")) == Momentum()
