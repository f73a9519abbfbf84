"""Rates: `10/m` is six seconds between two requests."""

from __future__ import annotations

import pytest

from crawler.parsing.rates import delay_of


@pytest.mark.parametrize(
    ("rate", "seconds"), [("10/s", 0.1), ("10/m", 6.0), ("0.5/s", 2.0), ("1000/s", 0.001), ("1/h", 3600.0)]
)
def test_a_rate_is_so_many_seconds_between_requests(rate: str, seconds: float) -> None:
    assert delay_of(rate) == pytest.approx(seconds)
