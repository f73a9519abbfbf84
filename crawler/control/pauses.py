"""Logs the pauses of a watched job, with the command that lifts each."""

from __future__ import annotations

import time

import structlog

from crawler.control.rules import subject_of
from crawler.model import Rule
from crawler.program import PROGRAM
from crawler.status import JobStats, Pause

log = structlog.get_logger()


class Pauses:
    """Logs each pause once, and measures for how long only paused requests have been left."""

    def __init__(self, *, resumable: bool = True) -> None:
        """`resumable`: whether another command can reach the job, to resume what is paused."""
        self._resumable = resumable
        self._said: set[tuple[str, Pause]] = set()
        self._paused_since: float | None = None

    def seen(self, stats: JobStats) -> float:
        """Log new pauses. Return the seconds for which only paused requests have been left; 0 if others are left."""
        for pause in stats.paused:
            if (stats.job, pause) not in self._said:
                self._said.add((stats.job, pause))
                what = {pause.what: pause.name, "job": stats.job}
                then = {"then": f"{PROGRAM} {resuming(pause)}"} if self._resumable else {}
                log.warning("paused", **what, why=pause.why, **then)
        now = time.monotonic()
        self._paused_since = (self._paused_since or now) if stats.is_all_paused else None
        return now - self._paused_since if self._paused_since is not None else 0.0


def resuming(pause: Pause) -> str:
    """Return the arguments of the command that lifts a pause."""
    in_job = f" --job {pause.job}" if pause.job and pause.what != "job" else ""
    return f"control resume {subject_of(Rule('pause', pause.what, pause.name))}{in_job}"
