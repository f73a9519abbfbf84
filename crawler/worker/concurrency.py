"""Adapts how many pages a worker visits at once to the limits of this machine.

It works like TCP's congestion control: halve at each sign of congestion, double in each round without one (RFC 5681).
"""

from __future__ import annotations

from crawler.runtime.incident import Incident

FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0


class Concurrency:
    """The number of requests at once that one worker allows itself. Times are its monotonic seconds."""

    def __init__(self, most: int) -> None:
        self.allowed = most
        self.why = ""
        """The limit that slows the worker down; empty if none."""
        self._most = most
        self._since = 0.0
        self._pause = 0.0
        self._incident = Incident("own_limit")

    def met(self, why: str, claimed_at: float, now: float) -> None:
        """Record that a page claimed at that time met a limit of this machine. Pages claimed together count once."""
        if claimed_at < self._since:
            return
        self.why = why
        self.allowed = max(1, self.allowed // 2)
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._since = now
        self._incident.met(why)

    def went_well(self, claimed_at: float) -> None:
        """Record that a page claimed at that time met no limit. The pause stays long until as many pages as before
        are allowed at once, so that a page that meets the limit every time does not circulate for ever."""
        if not self.why or claimed_at < self._since:
            return
        self.allowed += 1
        if self.allowed >= self._most:
            self.why, self._pause = "", 0.0
            self._incident.over()

    def pause(self, now: float) -> float:
        """Seconds until the worker may claim again."""
        return max(0.0, self._since + self._pause - now) if self.why else 0.0
