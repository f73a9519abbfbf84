"""How a host has answered lately: how long it is left alone, and whose fault a failure is. No clock, no queue."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from crawler.interfaces import Pace

BREAKER = 5  # failures in a row after which a host is asked one request at a time, and ever more rarely
DAY, HOUR = 86_400.0, 3_600.0


class Finding(NamedTuple):
    """`rest`: when it may be asked again (0: nothing is new). `is_hosts`: the failure is not the page's."""

    rest: float = 0.0
    is_hosts: bool = False
    counter: str = ""  # what has begun now, if anything
    is_hopeless: bool = False  # busy for two days: a person should see to it


@dataclass(slots=True)
class Health:
    """Of one host. The Redis frontier does the same in `commit.lua`."""

    busy: int = 0  # doublings of the back-off; each good answer takes one away
    failures: int = 0  # in a row
    since: float = 0.0  # time of the first failure or refusal after the last good answer; 0: all is well
    rest: float = 0.0  # time before which it is left alone

    @property
    def is_ill(self) -> bool:
        """Whether one request at a time is enough."""
        return self.busy > 0 or self.failures >= BREAKER

    def note(self, word: str, pause: float, pace: Pace, now: float, tries: int = BREAKER) -> Finding:
        """`word`: `ok`, `busy`, `down` or nothing; `pause`: seconds it asked for.

        `tries` of a page that has no more left: where the host has failed more often in a row, others met it, too.
        """
        if word == "ok":
            self.busy, self.failures, self.since = max(0, self.busy - 1), 0, 0.0
        if word in ("", "ok"):
            return self._rest(now, pause)
        again, long = self.since > 0, now - self.since if self.since else 0.0
        self.since = self.since or now
        counter, wait = "", pause
        if self.rest <= now:  # else it was told so by another answer to requests of the same moment
            counter, own = self._refuse(pause, pace) if word == "busy" else self._fail(pace, long)
            wait = own or pause
        if word == "busy":
            return self._rest(now, wait)._replace(is_hosts=again, counter=counter, is_hopeless=long > 2 * DAY)
        is_hosts = long <= pace.patience and (self.failures >= BREAKER or self.failures > tries)
        return self._rest(now, wait)._replace(is_hosts=is_hosts, counter=counter)

    def _rest(self, now: float, seconds: float) -> Finding:
        rest = now + seconds if seconds > 0 else 0.0
        self.rest = max(self.rest, rest)
        return Finding(rest)

    def _refuse(self, pause: float, pace: Pace) -> tuple[str, float]:
        if pause > 0:
            return "backoff", 0.0
        self.busy += 1
        return "backoff", _growing(pace.backoff, self.busy - 1, DAY)

    def _fail(self, pace: Pace, long: float) -> tuple[str, float]:
        self.failures += 1
        counter = "breaker_opened" if self.failures == BREAKER else ""
        if self.failures < BREAKER or long > pace.patience:
            return counter, 0.0
        return counter, _growing(pace.backoff / 2, self.failures - BREAKER, HOUR)


def _growing(first: float, times: int, most: float) -> float:
    """Doubled so many times; up to a quarter is added, so that many do not come back at once."""
    return min(most, first * 2.0 ** min(times, 64) * (1 + random.random() / 4))
