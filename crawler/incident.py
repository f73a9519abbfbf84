"""One log line when something goes wrong, however often it is met, and when it lasts one when it is over."""

from __future__ import annotations

import time

import structlog

from crawler.model import JobStats, Pause, Rule
from crawler.rules import subject_of

log = structlog.get_logger()


class Incident:
    """A condition that lasts, such as a queue server that is away. `event` names it in the log."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._since: float | None = None
        self._times = 0

    def met(self, why: object) -> None:
        """It is so (again)."""
        self._times += 1
        if self._since is None:
            self._since = time.monotonic()
            log.warning(self._event, why=str(why))

    def over(self) -> None:
        """It is so no more. Cheap when it was not so before."""
        if self._since is not None:
            log.info(f"{self._event}_over", seconds=round(time.monotonic() - self._since, 1), times=self._times)
            self._since, self._times = None, 0


class Pauses:
    """What a watched job leaves alone: said once, and for how long nothing else has been left."""

    def __init__(self) -> None:
        self._said: set[tuple[str, Pause]] = set()
        self._held_since: float | None = None

    def seen(self, stats: JobStats) -> float:
        """Look at the job. Returns the seconds for which all that is left has been paused; 0: something else is."""
        for pause in stats.paused:
            if (stats.job, pause) not in self._said:
                self._said.add((stats.job, pause))
                what = {pause.what: pause.name, "job": stats.job}
                log.warning("paused", **what, why=pause.why, then=f"crawler {resuming(pause)}")
        now = time.monotonic()
        self._held_since = (self._held_since or now) if stats.is_held else None
        return now - self._held_since if self._held_since is not None else 0.0


def resuming(pause: Pause) -> str:
    """The arguments of the command that lifts a pause."""
    return f"control resume {subject_of(Rule('pause', pause.what, pause.name))}"
