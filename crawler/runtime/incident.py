"""Logs a lasting condition once when it begins and once when it ends, however often it is met in between."""

from __future__ import annotations

import time

import structlog

log = structlog.get_logger()


class Incident:
    """A lasting condition, such as an outage of the queue server. `event` names it in the log."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._since: float | None = None
        self._times = 0

    def met(self, why: object) -> None:
        """Count one occurrence, and log the first one."""
        self._times += 1
        if self._since is None:
            self._since = time.monotonic()
            log.warning(self._event, why=str(why))

    @property
    def lasts(self) -> bool:
        """Whether the condition holds."""
        return self._since is not None

    def over(self) -> None:
        """Log the end of the condition, with its duration and count. Does nothing if it did not hold."""
        if self._since is not None:
            log.info(f"{self._event}_over", **self._so_far(self._since))
            self._since, self._times = None, 0

    def sum_up(self) -> None:
        """Log the same for a condition that still holds when the task that met it ends. Does nothing if it does not
        hold."""
        if self._since is not None:
            log.warning(f"{self._event}_in_all", **self._so_far(self._since))

    def _so_far(self, since: float) -> dict[str, float]:
        return {"seconds": round(time.monotonic() - since, 1), "times": self._times}
