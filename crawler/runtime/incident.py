"""One log line when something goes wrong, however often it is met, and when it lasts one when it is over."""

from __future__ import annotations

import time

import structlog

log = structlog.get_logger()


class Incident:
    """A condition that lasts, such as a queue server that is away. `event` names it in the log."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._since: float | None = None
        self._times = 0

    def met(self, why: object) -> None:
        """The condition holds. Logs the first time."""
        self._times += 1
        if self._since is None:
            self._since = time.monotonic()
            log.warning(self._event, why=str(why))

    def over(self) -> None:
        """The condition has ended. Cheap when it did not hold."""
        if self._since is not None:
            log.info(f"{self._event}_over", seconds=round(time.monotonic() - self._since, 1), times=self._times)
            self._since, self._times = None, 0
