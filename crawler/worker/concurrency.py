"""How many pages at once: fewer when this machine cannot carry them, and more again when it can.

As TCP does it with packets: halved at each sign of congestion, doubled in each round without one (RFC 5681).
"""

from __future__ import annotations

from crawler.runtime.incident import Incident

FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0


class Concurrency:
    """What one worker allows itself. Times are its monotonic seconds."""

    def __init__(self, most: int) -> None:
        self.allowed = most
        self.why = ""
        """Which limit is in the way; empty: none."""
        self._most = most
        self._since = 0.0
        self._pause = 0.0
        self._incident = Incident("own_limit")

    def met(self, why: str, claimed_at: float, now: float) -> None:
        """A page that was claimed at that time met a limit of this machine. Those claimed together met it together."""
        if claimed_at < self._since:
            return
        self.why = why
        self.allowed = max(1, self.allowed // 2)
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._since = now
        self._incident.met(why)

    def went_well(self, claimed_at: float) -> None:
        """A page that was claimed at that time met none. The pause gets no shorter before all do: a page that meets it
        again and again must not go round for ever."""
        if not self.why or claimed_at < self._since:
            return
        self.allowed += 1
        if self.allowed >= self._most:
            self.why, self._pause = "", 0.0
            self._incident.over()

    def pause(self, now: float) -> float:
        """Seconds before more may be claimed."""
        return max(0.0, self._since + self._pause - now) if self.why else 0.0
