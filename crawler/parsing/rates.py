"""Rates as people write them, such as `10/m`."""

from __future__ import annotations

import re

from crawler.errors import UsageError
from crawler.program import PROGRAM

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FASTEST, _SLOWEST = 0.001, 86_400.0  # seconds between two requests
_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)/([smh])", re.ASCII).fullmatch


def delay_of(rate: str) -> float:
    """Return the seconds between two requests at a rate such as `10/m`. Raise `UsageError` for a bad rate."""
    match = _RATE(rate)
    if match is None:
        raise UsageError(f"{rate!r} is not a rate: write 10/s, 30/m or 0.5/h (requests a second, minute or hour)")
    if not float(match[1]):
        raise UsageError(f"a rate of 0 would never finish: use `{PROGRAM} control pause`, or `{PROGRAM} control block`")
    delay = _SECONDS[match[2]] / float(match[1])
    if not _FASTEST <= delay <= _SLOWEST:
        raise UsageError(f"{rate} is out of bounds: from one request a day (0.042/h) to 1000/s")
    return delay
