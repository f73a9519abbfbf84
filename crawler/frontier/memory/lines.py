"""Whose turn is it: the pending requests of one job in lines by host.

The in-process counterpart of what the Redis frontier keeps in lists and sorted sets. No clock of its own:
every method is told what time it is.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Protocol

from crawler.frontier.memory.ledger import Ledger
from crawler.frontier.message import again, pardoned
from crawler.interfaces import Pace
from crawler.model import Request

POLL_SECONDS = 1.0
"""How long to wait for what has no known time: a request in flight, an exporter."""


@dataclass(slots=True, eq=False)
class Entry:
    """One request on its way through the states, with its account."""

    job: str
    request: Request
    host: str
    message: bytes  # as it would lie in a list; other bytes for every delivery
    mark: int  # fingerprint by which it is known
    delay: float = 0.0  # seconds before it may be handed out for the first time
    attempt: int = 0  # failed attempts so far
    crashes: int = 0  # deliveries that ended with the worker gone, nobody knows why
    delivery: int = 0  # times it was handed out and came back

    def come_back(self, *, failed: int = 0, crashed: int = 0) -> None:
        """Charge its account for a delivery that has not ended it; the old message is worth nothing any more."""
        self.attempt += failed
        self.crashes += crashed
        self.delivery += 1
        self.message = again(self.message, failed=failed)

    def pardon(self) -> None:
        """A clean account."""
        self.attempt = self.crashes = 0
        self.delivery += 1
        self.message = pardoned(self.message)


class Gate(Protocol):
    """What a job's rules and pauses say about its requests, during one claim."""

    def favourites(self) -> list[str]:
        """Hosts to look at first."""

    def when(self, entry: Entry) -> float:
        """When it may be handed out; not later than now: now; infinity: not before somebody resumes it."""

    def taken(self, entry: Entry) -> None:
        """It is handed out."""


class Lines:
    """The pending requests of one job: a line a host, best first, and the hosts in the order of their turns.

    Always true: a host with a line stands either once in the heap of turns, at a time that is never later
    than the ledger's (other jobs move the ledger; the heap is corrected when the host comes up), or among
    the `_full`, which have as many requests in flight as they may, or which a lease has to itself, and come back with
    `freed`, or among the `_held`,
    which are paused and come back with `resume`, or with those of its group (`_groups`) that wait for the group's
    turn. Such a group stands among the turns or the `_full` itself, as `@GROUP`.
    """

    def __init__(self, *, lifo: bool = False) -> None:
        self._lifo = lifo
        self._count = itertools.count(1)
        self._lines: dict[str, list[tuple[int, int, Entry]]] = {}  # heaps: -priority, rank, entry
        self._turns: list[tuple[float, int, str]] = []  # heap: not later than its turn, tie, host or @group
        self._groups: dict[str, deque[str]] = {}  # hosts that wait for their group's turn
        self._full: set[str] = set()
        self._held: set[str] = set()  # paused
        self._delayed: list[tuple[float, int, Entry]] = []  # heap: due, tie, entry
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting + len(self._delayed)

    @property
    def delayed(self) -> int:
        """Requests with a not-before time."""
        return len(self._delayed)

    def push(self, entry: Entry, *, front: bool = False) -> None:
        """Into its host's line, behind (LIFO: before) those of its priority; `front`: before them."""
        rank = next(self._count)
        line = self._lines.get(entry.host)
        if line is None:
            line = self._lines[entry.host] = []
            self._queue(entry.host, 0.0)
        heappush(line, (-entry.request.priority, -rank if front or self._lifo else rank, entry))
        self._waiting += 1

    def push_delayed(self, entry: Entry, due: float) -> None:
        """Not before `due`; then to the front of its line."""
        heappush(self._delayed, (due, next(self._count), entry))

    def take(self, limit: int, ledger: Ledger, pace: Pace, now: float, gate: Gate) -> list[Entry]:
        """At most `limit` requests of hosts that may be asked now, booked in the ledger; O(log hosts)."""
        self._wake(now)
        self._prefer(gate.favourites(), ledger)
        taken: list[Entry] = []
        while len(taken) < limit and (host := self._next_host(ledger, pace, now)) is not None:
            taken += self._take_from(host, min(ledger.room(host, pace), limit - len(taken)), ledger, pace, now, gate)
        return taken

    def _take_from(self, host: str, room: int, ledger: Ledger, pace: Pace, now: float, gate: Gate) -> list[Entry]:
        """What one host may give now; it then waits for its next turn, for a resume, or has no line any more."""
        line, taken, when = self._lines[host], list[Entry](), 0.0
        while line and len(taken) < room and (when := gate.when(line[0][2])) <= now:
            taken.append(heappop(line)[2])
            gate.taken(taken[-1])
        self._waiting -= len(taken)
        if taken:
            ledger.book(host, len(taken), pace, now)
        if not line:
            del self._lines[host]
        elif when == math.inf:
            self._held.add(host)
        else:
            self._queue(host, max(ledger[host].next, when))
        return taken

    def _prefer(self, favourites: list[str], ledger: Ledger) -> None:
        """Bring these hosts before all others whose turn has come."""
        for rank, host in enumerate(favourites):
            if any(host == other for _, _, other in self._turns):
                self._turns = [turn for turn in self._turns if turn[2] != host]
                self._turns.append((min(ledger[host].next, -1.0 / (rank + 1)), 0, host))
                heapify(self._turns)

    def sweep(self, is_blocked: Callable[[Entry], bool]) -> list[Entry]:
        """Take all pending requests out that are blocked. O(pending)."""
        found = [entry for line in self._lines.values() for _, _, entry in line if is_blocked(entry)]
        self._waiting -= len(found)
        found += [entry for _, _, entry in self._delayed if is_blocked(entry)]
        self._delayed = [late for late in self._delayed if not is_blocked(late[2])]
        heapify(self._delayed)
        for host in {entry.host for entry in found}:
            if line := [one for one in self._lines.get(host, []) if not is_blocked(one[2])]:
                heapify(line)
                self._lines[host] = line
            else:
                self._forget(host)
        return found

    def _forget(self, host: str) -> None:
        """It has no line any more."""
        self._lines.pop(host, None)
        self._leave(host)

    @property
    def held(self) -> int:
        """Hosts that are left alone because they, or the spider of their next request, are paused."""
        return len(self._held)

    @property
    def is_held(self) -> bool:
        """Whether nothing but those is left."""
        return bool(self._held) and not (self._turns or self._full or self._delayed)

    def resume(self, ledger: Ledger) -> None:
        """A pause was lifted: look at all of them again."""
        for host in self._held:
            self._queue(host, ledger[host].next)
        self._held.clear()

    def freed(self, name: str, ledger: Ledger) -> None:
        """A request to this host or group is no longer in flight."""
        for waiting in (name, f"@{name}"):
            if waiting in self._full:
                self._full.remove(waiting)
                self._queue(waiting, ledger[name].next)

    def look_at(self, host: str | None = None) -> None:
        """A rule has changed: look at this host, or at all, before they are due."""
        for one in [host] if host is not None else list(self._lines):
            if one in self._lines:
                self._leave(one)
                self._queue(one, 0.0)
            if one in self._groups:
                self._full.discard(f"@{one}")
                self._turns = [turn for turn in self._turns if turn[2] != f"@{one}"]
                heapify(self._turns)
                self._queue(f"@{one}", 0.0)

    def _leave(self, host: str) -> None:
        """It stands nowhere any more."""
        self._full.discard(host)
        self._held.discard(host)
        gone = {host}
        for group, line in list(self._groups.items()):
            if host in line:
                line.remove(host)
            if not line:
                del self._groups[group]
                self._full.discard(f"@{group}")
                gone.add(f"@{group}")
        self._turns = [turn for turn in self._turns if turn[2] not in gone]
        heapify(self._turns)

    def wait(self, ledger: Ledger, now: float) -> float:
        """Seconds until something can become due. Something is pending."""
        while self._turns and self._turns[0][0] < (turn := ledger[self._turns[0][2].removeprefix("@")].next):
            self._queue(heappop(self._turns)[2], turn)
        times = [heap[0][0] for heap in (self._turns, self._delayed) if heap]
        if self._full or self._held:
            times.append(now + POLL_SECONDS)
        return max(0.0, min(times) - now)

    def outlook(self, ledger: Ledger, now: float) -> tuple[int, int, float | None]:
        """How many hosts are ready and how many must wait, and seconds until the next is due. O(hosts)."""
        lined = {host for line in self._groups.values() for host in line}
        elsewhere = self._full | self._held | lined
        times = [ledger[host].next for host in self._lines if host not in elsewhere]
        cooling = [time for time in times if time > now]
        due = [time for time in (*cooling, *map(ledger.due, lined)) if time > now]
        if self._delayed:
            due.append(self._delayed[0][0])
        waiting = len(cooling) + len(lined) + len(self._full & self._lines.keys())
        return len(times) - len(cooling), waiting, max(0.0, min(due) - now) if due else None

    def lengths(self) -> dict[str, int]:
        """Of each host's line."""
        return {host: len(line) for host, line in self._lines.items()}

    def line(self, host: str) -> Iterator[tuple[int, Entry]]:
        """The requests of one host, the next one first, each with how many are before it."""
        return enumerate(entry for _, _, entry in sorted(self._lines.get(host, []), key=lambda one: one[:2]))

    def waiting(self) -> Iterator[tuple[float, Entry]]:
        """The delayed ones, each with its time; in no order."""
        return ((due, entry) for due, _, entry in self._delayed)

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self.push(heappop(self._delayed)[2], front=True)

    def _next_host(self, ledger: Ledger, pace: Pace, now: float) -> str | None:
        while self._turns and self._turns[0][0] <= now:
            name = heappop(self._turns)[2]
            group = name[1:] if name[0] == "@" else ""
            if not group:
                ledger.share_cap(name, pace)
            if not group and ledger[name].asker:
                self._full.add(name)
            elif not ledger.is_free(group or name, pace, now):
                self._wait_turn(name, ledger, pace, now)
            elif group:
                self._queue_first_of(group, now)
            elif (its := ledger[name].group) and not ledger.is_free(its, pace, now):
                self._stand_in_line(name, its, now)
            else:
                return name
        return None

    def _wait_turn(self, name: str, ledger: Ledger, pace: Pace, now: float) -> None:
        turn = ledger[name.removeprefix("@")]
        if turn.next > now:
            self._queue(name, turn.next)
        else:
            self._full.add(name)

    def _stand_in_line(self, host: str, group: str, now: float) -> None:
        line = self._groups.get(group)
        if line is None:
            line = self._groups[group] = deque()
            self._queue(f"@{group}", now)
        line.append(host)

    def _queue_first_of(self, group: str, now: float) -> None:
        """A group's turn is its first host's; the next of the line comes up when that one is served."""
        line = self._groups[group]
        self._queue(line.popleft(), -math.inf)  # before all others: it has waited already
        if line:
            self._queue(f"@{group}", now)
        else:
            del self._groups[group]

    def _queue(self, name: str, time: float) -> None:
        # of equal times a group's comes first: the hosts in its line have waited longer than one that comes up now
        heappush(self._turns, (time, 0 if name[0] == "@" else next(self._count), name))
