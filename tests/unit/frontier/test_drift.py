"""A field with a steady share is hardly ever taken for one that has drifted: the chance, computed and not drawn."""

from __future__ import annotations

from math import comb, sqrt

import pytest

from crawler.frontier.rules import DRIFT_PAST, DRIFT_SIGMAS
from crawler.settings import Settings

SHARE, WINDOW = Settings().DRIFT_SHARE, Settings().DRIFT_MIN


def is_drift(before: float, now: float, pages: int, window: int = WINDOW) -> bool:
    """The rule of `lua/lib/drift.lua`, whose rows are in `tests/contract/decisions.toml`."""
    return before - now > max(SHARE * before, DRIFT_SIGMAS * sqrt(before * (1 - before) * (1 / window + 1 / pages)))


def chances(number: int, share: float) -> list[float]:
    """The chance of each count among `number` items, each of which has the field with this chance."""
    return [comb(number, k) * share**k * (1 - share) ** (number - k) for k in range(number + 1)]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("pages", [DRIFT_PAST * WINDOW, 20 * WINDOW])
def test_a_steady_share_falls_so_far_in_fewer_than_one_of_a_million_windows(share: float, pages: int) -> None:
    past, lately = chances(pages, share), chances(WINDOW, share)
    alarm = 0.0
    for filled, chance in enumerate(past):
        if chance > 1e-12:
            alarm += chance * sum(
                lately[now] for now in range(WINDOW + 1) if is_drift(filled / pages, now / WINDOW, pages)
            )
    assert alarm < 1e-6


@pytest.mark.parametrize(("before", "now"), [(1.0, 0.4), (0.95, 0.3), (0.9, 0.3), (0.8, 0.2), (0.7, 0.1)])
def test_a_real_fall_is_noticed_in_the_next_window(before: float, now: float) -> None:
    """With more than nine chances in ten."""
    noticed = sum(
        chance for filled, chance in enumerate(chances(WINDOW, now)) if is_drift(before, filled / WINDOW, 20 * WINDOW)
    )
    assert noticed > 0.9
