"""Rules, calls and answers of the in-process frontier, and what the rules mean for its claims."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from crawler.control.rules import key_of, number_of, pauses_in
from crawler.frontier.memory.job import MemoryJob
from crawler.frontier.memory.lines import Entry
from crawler.interfaces import Pace
from crawler.model import Call, Rule, RuleChange
from crawler.status import Pause

HEAR_SECONDS = 1.0  # that a listener waits at most
LOOK_AGAIN = 10.0  # seconds until a host is looked at again that waits for its spider's turn
CATCH_UP = 0.1  # seconds that a spider or job may make up for: nobody claims all the time


class MemoryControl:
    """Implements `Control`. `changed(rule)` is called in the same step."""

    def __init__(self, changed: Callable[[Rule], None]) -> None:
        self._changed = changed
        self._rules: dict[str, Rule] = {}
        self._log: deque[RuleChange] = deque(maxlen=10_000)  # newest first
        self._numbers = itertools.count(1)
        self._calls: list[Call] = []
        self._called = asyncio.Event()
        self._answers: dict[str, dict[str, str]] = {}
        self._turns: dict[tuple[str, str], float] = {}  # next turn of a spider or job that has a rate

    async def set_rule(self, rule: Rule, *, undoes: str = "") -> RuleChange:
        """One step."""
        key = key_of(rule)
        before = self._rules.pop(key, None)
        rule = replace(rule, id=str(next(self._numbers)), at=time.time())
        if rule.value:
            self._rules[key] = rule
        self._turns.pop((rule.what, rule.name), None)
        change = RuleChange(rule, before.value if before else "", undoes, self._call("rule"))
        self._log.appendleft(change)
        self._changed(rule)
        return change

    async def rules(self) -> list[Rule]:
        """In the order in which they were set."""
        return list(self._rules.values())

    async def rule_log(self, limit: int = 1000) -> list[RuleChange]:
        """Newest first."""
        return list(itertools.islice(self._log, limit))

    async def ask(self, question: str) -> str:
        """One call more."""
        return self._call(question)

    def _call(self, word: str) -> str:
        call = Call(str(len(self._calls) + 1), word)
        self._calls.append(call)
        self._called.set()
        return call.id

    async def last_call(self) -> str:
        """How many there were."""
        return str(len(self._calls))

    async def hear(self, after: str) -> list[Call]:
        """Waits for an event."""
        if len(self._calls) == int(after):
            self._called.clear()
            try:
                await asyncio.wait_for(self._called.wait(), HEAR_SECONDS)
            except TimeoutError:
                return []
        return self._calls[int(after) :]

    async def answer(self, call: str, worker: str, text: str) -> None:
        """Kept for as long as the process."""
        self._answers.setdefault(call, {})[worker] = text

    async def answers(self, call: str) -> dict[str, str]:
        """What was said so far."""
        return dict(self._answers.get(call, {}))

    # --- what claims ask

    def pauses(self, job: str) -> tuple[Pause, ...]:
        """Those that hold in a job."""
        return pauses_in(self._rules.values(), job)

    def number(self, action: str, what: str, name: str) -> int | None:
        """The number of a rule in force."""
        rule = self._rules.get(f"{action} {what} {name}")
        return None if rule is None else number_of(rule)

    def pace(self, host: str, pace: Pace) -> Pace:
        """How a host is treated, when `pace` holds for those without rules."""
        if not self._rules:
            return pace
        delay, cap = self.number("rate", "host", host), self.number("concurrency", "host", host)
        return Pace(
            delay=pace.delay if delay is None else delay / 1000,
            jitter=pace.jitter,
            concurrency=pace.concurrency if cap is None else cap,
        )

    def is_paused(self, job: str, what: str, name: str) -> bool:
        """In this job, or in all."""
        key = f"pause {what} {name}"
        return key in self._rules or f"{key} in {job}" in self._rules

    def blocked(self, entry: Entry) -> str:
        """What it must never be handed out for; empty: nothing."""
        subjects = (f"host {entry.host}", f"spider {entry.request.spider}", f"job {entry.job}")
        return next((subject for subject in subjects if f"block {subject}" in self._rules), "")

    @property
    def has_blocks(self) -> bool:
        """Whether anything is blocked."""
        return any(rule.action == "block" for rule in self._rules.values())

    def turn(self, what: str, name: str) -> float:
        """When a spider or job may be asked next; 0: it has no rate."""
        return self._turns.get((what, name), 0.0) if self.number("rate", what, name) else 0.0

    def book(self, what: str, name: str, now: float) -> None:
        """One of its requests is handed out."""
        if (pace := self.number("rate", what, name)) is not None:
            seconds = pace / 1000
            turn = max(self.turn(what, name), now - max(0.0, CATCH_UP - seconds))
            self._turns[what, name] = turn + seconds

    def favourites(self, what: str) -> list[str]:
        """The hosts or jobs that have a priority, highest first."""
        found = [rule for rule in self._rules.values() if (rule.action, rule.what) == ("priority", what)]
        return [rule.name for rule in sorted(found, key=lambda rule: -number_of(rule))]

    def in_order(self, states: Iterable[MemoryJob]) -> list[MemoryJob]:
        """The same jobs, those with a priority first."""
        first = self.favourites("job")
        ranks = {name: rank for rank, name in enumerate(first)}
        return sorted(states, key=lambda state: ranks.get(state.job.name, len(first)))


@dataclass(slots=True)
class JobGate:
    """Implements `Gate` for one claim from one job."""

    control: MemoryControl
    state: MemoryJob
    now: float
    postponed: int = field(default=0)

    def favourites(self) -> list[str]:
        """Hosts to look at first."""
        return self.control.favourites("host")

    def when(self, entry: Entry) -> float:
        """When it may be handed out: 0: now; infinity: not before somebody resumes it."""
        job, spider = self.state.job.name, entry.request.spider
        if (
            self.state.leaves_alone(entry)
            or self.control.is_paused(job, "host", entry.host)
            or self.control.is_paused(job, "spider", spider)
        ):
            return math.inf
        turn = self.control.turn("spider", spider)
        if turn <= self.now:
            return 0.0
        pace = (self.control.number("rate", "spider", spider) or 0) / 1000
        self.postponed += 1
        return min(turn, self.now + LOOK_AGAIN) + (self.postponed - 1) * pace % LOOK_AGAIN

    def taken(self, entry: Entry) -> None:
        """It is handed out."""
        self.control.book("spider", entry.request.spider, self.now)
        self.control.book("job", self.state.job.name, self.now)
