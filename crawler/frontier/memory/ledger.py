"""When each host may be asked: the politeness of all jobs and workers in this process.

The in-process counterpart of the hashes `P host:H` of the Redis frontier. No clock of its own: every method is told
what time it is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from crawler.frontier.redis.health import BREAKER, Finding, Health
from crawler.interfaces import Pace
from crawler.model import Dead, Visit
from crawler.status import HostTurn


@dataclass(slots=True)
class Turn:
    """What the ledger knows of one host, or of a group of hosts that share an address."""

    next: float = 0.0  # time before which it is not asked again
    before: float | None = None  # what that was before the last claim
    busy: int = 0  # requests in flight
    delay: float = 0.0  # seconds between requests that the host itself asked for
    group: str = ""  # whose turns it takes, too
    placed: float = -math.inf  # time when it joined that group
    pace: float = 0.0  # seconds between requests when it was asked last
    usual: float = 0.0  # the same without the rule that was in force
    cap: int = 0  # of a group: requests at once, by a rule for one of its hosts
    health: Health = field(default_factory=Health)
    latency: float = 0.0  # seconds it takes for its answers, when the pace follows that
    asker: tuple[str, object] | None = None  # worker, and which of its leases, that has the host to itself

    def adapted(self, pace: Pace) -> float:
        """Seconds between two requests that follow from that."""
        return min(pace.longest, self.latency / pace.target) if pace.target else 0.0

    def note_latency(self, seconds: float, *, is_good: bool) -> None:
        """It rises at once and falls by halves, and never by an error, which is often answered fast."""
        before = self.latency or seconds
        self.latency = max(seconds, (before + seconds) / 2 if is_good else before)


def is_spent(visit: Visit) -> bool:
    """Whether its page is given up because its tries are used up."""
    return isinstance(visit.outcome, Dead) and visit.outcome.spent


class Ledger:
    """The politeness of all jobs and workers together: one `Turn` a host, and one a group.

    `ordered(host, pace)` tells what people have ruled for it.
    """

    def __init__(self, ordered: Callable[[str, Pace], Pace] = lambda _, pace: pace) -> None:
        self._turns: dict[str, Turn] = {}
        self._ordered = ordered

    def __getitem__(self, host: str) -> Turn:
        return self._turns.setdefault(host, Turn())

    def place(self, host: str, group: str, now: float) -> float:
        """Into a group (empty: none), with its requests in flight; for how many seconds it has been there."""
        turn = self[host]
        if turn.group != group:
            if turn.group:
                self[turn.group].busy -= turn.busy
            if group:
                self[group].busy += turn.busy
            turn.group, turn.placed = group, now
        return now - turn.placed

    def is_free(self, name: str, pace: Pace, now: float) -> bool:
        """Whether a host or group may be asked."""
        turn = self[name]
        return turn.next <= now and turn.busy < self._paces(name, pace).concurrency

    def room(self, host: str, pace: Pace) -> int:
        """How many requests it may be sent at one moment: one when there is a delay, else up to the cap."""
        free = min(self._paces(name, pace).concurrency - self[name].busy for name in self.names(host))
        return min(free, 1) if any(self._delay(name, host, pace) for name in self.names(host)) else max(0, free)

    def book(self, host: str, count: int, pace: Pace, now: float) -> None:
        """`count` requests are handed out now."""
        for name in self.names(host):
            turn = self[name]
            turn.busy += count
            turn.before = turn.next
            turn.pace, turn.usual = self._delay(name, host, pace), pace.delay
            turn.next = max(turn.next, now + turn.pace * (1 + pace.jitter * random.random()))

    def unbook(self, host: str) -> list[str]:
        """The turn that the last claim booked was not used. Who may be asked again at once: the host, its group."""
        freed = []
        for name in self.names(host):
            turn = self[name]
            if turn.busy == 1 and turn.before is not None:
                turn.next = turn.before
                freed.append(name)
        return freed

    def take(self, host: str, worker: str, lease: object) -> bool:
        """A lease takes the host for itself until it ends; False: another one has it."""
        turn = self[host]
        turn.asker = turn.asker or (worker, lease)
        return turn.asker[1] is lease

    def free(self, host: str, lease: object) -> list[str]:
        """A request is no longer in flight. Whose slot is free: the host's, and its group's."""
        if (asker := self[host].asker) and asker[1] is lease:
            self[host].asker = None
        for turn in self.of(host):
            turn.busy -= 1
            turn.before = None
        return [name for name in (host, self[host].group) if name]

    def settle(self, host: str, visit: Visit, pace: Pace, now: float, tries: int) -> Finding:
        """Move the next turn by what the last of `tries` visits found out; the gap counts from when it was asked."""
        turn = self[host]
        if visit.host_delay is not None:
            turn.delay = visit.host_delay
        if pace.target and visit.health:
            turn.note_latency(visit.seconds, is_good=200 <= (visit.status or 0) < 300)
        if visit.asked_at is not None:
            for name in self.names(host):
                its = self[name]
                its.next = max(its.next, min(visit.asked_at, now) + self._delay(name, host, pace))
        finding = turn.health.note(visit.health, visit.pause, pace, now, tries if is_spent(visit) else BREAKER)
        turn.next = max(turn.next, finding.rest)
        return finding

    def reordered(self, host: str) -> None:
        """The rule for its pace has changed: its next turn counts from when it was last asked."""
        for name in self.names(host):
            turn = self[name]
            new = self._delay(name, host, Pace(delay=turn.usual))
            if name != host:
                new = min(new, turn.pace)
            if turn.next:  # it was asked before
                turn.next, turn.pace = max(turn.next - turn.pace + new, turn.health.rest), new

    def recapped(self, host: str) -> None:
        """The rule for its requests at once has changed."""
        if group := self[host].group:
            self[group].cap = 0

    def shown(self, name: str, now: float) -> HostTurn:
        """A host, or a group, for people."""
        turn = self[name]
        health = turn.health
        wait, rest = (max(0.0, time - now) for time in (turn.next, health.rest))
        asking = turn.asker[0] if turn.asker else ""
        ill = (health.busy, health.failures)
        return HostTurn(wait, turn.busy, turn.delay, turn.group, rest, *ill, turn.latency, asking)

    @property
    def asked(self) -> int:
        """Hosts that a lease has to itself. O(hosts)."""
        return sum(turn.asker is not None for turn in self._turns.values())

    def due(self, host: str) -> float:
        """When it may be asked, as far as time goes."""
        return max(turn.next for turn in self.of(host))

    def share_cap(self, host: str, pace: Pace) -> None:
        """Where a rule gives a host more room, or less, its group has as much."""
        group, cap = self[host].group, self._ordered(host, pace).concurrency
        if group and cap != pace.concurrency:
            self[group].cap = cap

    def _paces(self, name: str, pace: Pace) -> Pace:
        """How a host or group is treated: by a rule of its own, or by its hosts'; one that is ill, with care."""
        ordered, cap = self._ordered(name, pace), self[name].cap
        if self[name].health.is_ill:
            return replace(ordered, concurrency=1)
        return replace(ordered, concurrency=cap) if cap and ordered.concurrency == pace.concurrency else ordered

    def _delay(self, name: str, host: str, pace: Pace) -> float:
        """Seconds between two requests to `name`, which is the host or its group: that is never slower than it."""
        delay = self._ordered(name, pace).delay
        if delay == pace.delay and name != host:
            delay = min(self._ordered(host, pace).delay, delay)
        elif delay == pace.delay:
            delay = max(delay, self[host].adapted(pace))
        return max(delay, self[name].delay)

    def names(self, host: str) -> list[str]:
        """The host's, and its group's."""
        return [name for name in (host, self[host].group) if name]

    def of(self, host: str) -> list[Turn]:
        """Its own turn, and that of its group."""
        return [self[name] for name in self.names(host)]
