"""A clock that a test moves as it likes, for a queue server: libfaketime tells it the time that stands in a file."""

from __future__ import annotations

import glob
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), "")

needs_clock = pytest.mark.skipif(not LIBRARY, reason="no libfaketime: run scripts/test-services as root")


class Clock:
    """Goes on from the moment that was set last. `environment` is for the server."""

    def __init__(self, folder: Path, moment: float) -> None:
        self._file = folder / "clock"
        self.set(moment)
        self.environment = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }

    def set(self, moment: float) -> None:
        """Set it to the moment, in seconds since 1970; back is possible, too."""
        self.moment = moment
        new = self._file.with_suffix(".new")
        new.write_text(f"@{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}\n")
        os.replace(new, self._file)  # the server never reads half of it


def ahead(seconds: float) -> dict[str, str]:
    """The environment of a server whose clock is always so far ahead (negative: behind)."""
    if not seconds:
        return {}
    return {"LD_PRELOAD": LIBRARY, "FAKETIME": f"{seconds:+g}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}
