"""Compares every frontier with a small model: after each random step the counters must equal the model's.

The model knows the state, attempts and crashes of each request, but no lists, scripts or shards. It leaves times open
(a `SOON` request may be due or not), so that tests with real servers need not sleep. `HYPOTHESIS_PROFILE=long` runs
more steps.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crawler.interfaces import Pace
from crawler.model import Dead, Done, Exported, Failure, Job, Lease, Outcome, Release, Request, Retry, Skip, Visit
from crawler.testing.contract.world import Crawl, World, dead, failed

T = TypeVar("T")

WORKERS = ("w1", "w2", "w3")
ATTEMPTS = 3
MAX_CRASHES = 2
NOW, SOON, LATE = "now", "soon", "late"  # may be claimed; perhaps; certainly not
PACE = Pace(delay=0.0, concurrency=2)
LONG = 1e6  # seconds that will not pass
CRASH = Failure("crash", "signal 9")


@dataclass
class Record:
    """The model's record of one request."""

    number: int
    host: str
    priority: int
    due: str
    state: str = "pending"
    attempt: int = 0
    crashes: int = 0
    delivery: int = 0
    worker: str = ""
    lease: Lease | None = None

    def back(self, due: str = NOW) -> None:
        """Return the request to pending."""
        self.state, self.due, self.lease = "pending", due, None
        self.delivery += 1

    def end(self, state: str) -> None:
        """Move the request to done, dead or dropped."""
        self.state, self.lease = state, None


@dataclass(frozen=True)
class Link:
    """A request as the rules generate it."""

    host: int
    page: int
    priority: int = 0
    dont_filter: bool = False
    late: bool = False
    callback: str = "parse"


links = st.lists(
    st.builds(
        Link,
        host=st.integers(0, 4),
        page=st.integers(0, 9),
        priority=st.sampled_from((0, 0, 0, -1, 2)),
        dont_filter=st.sampled_from((False, False, False, True)),
        late=st.sampled_from((False, False, False, True)),
        callback=st.sampled_from(("parse", "parse", "detail", "review")),
    ),
    max_size=6,
    # the contract leaves open which of two in one call is admitted
    unique_by=lambda link: (link.host, link.page, link.dont_filter),
)
outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    (
        Done(),
        Done(),
        Done(),
        Skip("robots"),
        Retry(failed(), 0.0),
        Retry(failed(), LONG),
        Release("drain"),
        Release("drain", LONG),
        dead(),
    )
)
picks = st.integers(0, 1_000)


class Machine(RuleBasedStateMachine):
    """The rules; each does the same thing to the frontier and to the model."""

    def __init__(self, new_world: Callable[[], World]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = new_world()
        self.crawl = self.run(Crawl.create(self.world, Job("model"), max_crashes=MAX_CRASHES))
        self.frontier = self.crawl.frontier
        self.numbers = itertools.count()
        self.records: dict[int, Record] = {}
        self.known: set[object] = set()  # URLs, and the words that distinguish `dont_filter` requests of one URL
        self.callbacks: dict[str, str] = {}  # URL → that of the request that was admitted
        self.others: set[tuple[str, str]] = set()  # URL and another callback that a request named for it
        self.old: list[tuple[str, Lease, bool]] = []  # leases no longer held, and the answers to their commits
        self.seeders: set[str] = set()
        self.ended_seeding = False
        self.items: Counter[bytes] = Counter()  # committed
        self.exported: Counter[bytes] = Counter()
        self.waiting = 0  # pages in the outbox
        self.paused: set[str] = set()  # hosts
        self.groups: dict[str, str] = {}  # host → group
        self.askers: dict[str, Record] = {}  # host → the request that has the host to itself

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Run one call of the frontier."""
        return self.runner.run(step)

    def teardown(self) -> None:
        """Close the world."""
        self.run(self.world.close())
        self.runner.close()

    # --- rules

    @rule(drawn=links, seed=st.booleans())
    def add(self, drawn: list[Link], seed: bool) -> None:
        """(unknown) → pending."""
        requests = [self.request(link) for link in drawn]
        new = sum(self.admit(link, request) for link, request in zip(drawn, requests, strict=True))
        added = self.run(self.frontier.adding.add(self.crawl.job, requests, seed=seed))
        assert (added.new, added.known) == (new, len(drawn) - new)

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 8))
    def claim(self, worker: str, limit: int) -> None:
        """pending → processing."""
        busy = Counter(name for record in self.held() for name in self.ledgers(record.host))
        claim = self.run(self.frontier.queue.claim(worker, limit, [self.crawl.job], PACE))
        assert not claim.junk
        assert not claim.gone
        assert len(claim.leases) <= limit
        for lease in claim.leases:
            self.hand_out(worker, lease)
            busy.update(self.ledgers(lease.host))
            assert all(busy[name] <= PACE.concurrency for name in self.ledgers(lease.host))
        if len(claim.leases) < limit:
            assert claim.idle in (("cooling", "paused") if self.in_state("pending") else ("empty",))
            assert claim.idle != "paused" or self.paused
            assert (claim.wait is None) == (not self.in_state("pending"))
            for record in self.in_state("pending"):
                is_full = any(busy[name] >= PACE.concurrency for name in self.ledgers(record.host))
                held_back = is_full or record.host in self.paused or record.host in self.askers
                assert record.due != NOW or held_back, f"{record} could have been handed out"
        self.check_priorities(claim.leases)

    @rule(host=st.integers(0, 3), group=st.sampled_from(["", "g1", "g2"]))
    def place(self, host: int, group: str) -> None:
        """A host joins a group and shares its cap."""
        if self.world.shards == 1:  # each shard has groups of its own
            self.run(self.frontier.ledger.join(f"h{host}.example", group))
            self.groups[f"h{host}.example"] = group

    @precondition(lambda self: self.held() and self.world.shards == 1)
    @rule(pick=picks, group=st.sampled_from(["g1", "g2"]))
    def meet(self, pick: int, group: str) -> None:
        """The host of a lease joins a group; the lease has a turn of it only if it is alone and the group has room."""
        record = self.pick(self.held(), pick)
        busy = Counter(name for each in self.held() for name in self.ledgers(each.host))
        join = self.frontier.ledger.join(record.host, group, self.crawl.job.name, PACE)
        if self.run(join).has_turn:
            assert busy[record.host] == 1
            assert busy[group] < PACE.concurrency
            assert self.groups.get(record.host) != group
        self.groups[record.host] = group

    @precondition(lambda self: self.held())
    @rule(pick=picks)
    def take_host(self, pick: int) -> None:
        """A lease takes its host for itself until it ends."""
        record = self.pick(self.held(), pick)
        asker = self.askers.get(record.host, record)
        assert self.run(self.frontier.asking.take_host(record.worker, leased(record))) == (asker is record)
        self.askers[record.host] = asker

    @precondition(lambda self: self.held())
    @rule(pick=picks, count=st.integers(1, 4), outcome=outcomes, drawn=links, items=st.integers(0, 2))
    def commit(self, pick: int, count: int, outcome: Outcome, drawn: list[Link], items: int) -> None:
        """processing → done | pending | dead: some leases of one worker, the first with links and items."""
        first = self.pick(self.held(), pick)
        others = [record for record in self.held() if record.worker == first.worker and record is not first]
        batch = [first, *others[: count - 1]]
        found = tuple(self.request(link) for link in drawn)
        lines = tuple(b'{"n":%d}' % next(self.numbers) for _ in range(items))
        visits = [(leased(record), Visit(outcome)) for record in batch]
        visits[0] = (leased(first), Visit(outcome, items=lines, links=found, status=200))
        answers = self.run(self.frontier.queue.commit(first.worker, visits, PACE))
        assert answers == [True] * len(batch)
        times: Counter[str] = Counter()
        for link, request in zip(drawn, found, strict=True):
            times[request.url] += link.dont_filter
            self.admit(link, request, (first.number, request.url, times[request.url]))
        if lines and isinstance(outcome, (Dead, Done, Skip)):
            self.items.update(lines)
            self.waiting += 1
        for record in batch:
            self.let_go(record, answer=True)
            self.settle(record, outcome)

    @precondition(lambda self: self.old)
    @rule(pick=picks, outcome=outcomes, items=st.integers(0, 1))
    def commit_late(self, pick: int, outcome: Outcome, items: int) -> None:
        """A worker commits a lease that it no longer holds: nothing changes, whatever the outcome."""
        worker, lease, answer = self.pick(self.old, pick)
        visit = Visit(outcome, items=(b'{"late":1}',) * items, status=500)
        (found,) = self.run(self.frontier.queue.commit(worker, [(lease, visit)], PACE))
        assert not found or answer, "only a commit that was accepted may be answered so again"

    @precondition(lambda self: self.held())
    @rule(pick=picks, worker=st.sampled_from(WORKERS), outcome=outcomes)
    def commit_anothers(self, pick: int, worker: str, outcome: Outcome) -> None:
        """A worker commits a lease that another worker holds: nothing changes."""
        record = self.pick(self.held(), pick)
        if worker != record.worker:
            visits = [(leased(record), Visit(outcome))]
            assert self.run(self.frontier.queue.commit(worker, visits, PACE)) == [False]

    @rule(worker=st.sampled_from(WORKERS), blamed=st.none() | picks)
    def die(self, worker: str, blamed: int | None) -> None:
        """processing → pending: the supervisor saw the worker die, and may know which request killed it."""
        held = [record for record in self.held() if record.worker == worker]
        culprit = self.pick(held, blamed) if held and blamed is not None else None
        is_spent = culprit is not None and culprit.attempt + 1 >= ATTEMPTS
        blame = (leased(culprit), Dead(CRASH) if is_spent else Retry(CRASH, 1.0)) if culprit else None
        reaped = self.run(self.frontier.leases.reap(worker, blame=blame))
        for record in held:
            self.let_go(record, answer=False)
            if record is not culprit:
                record.back()
            elif not is_spent:
                record.back(SOON)
                record.attempt += 1
            else:
                record.end("dead")
        deaths = sum(record.state == "dead" for record in held)
        assert sum(one.dead for one in reaped) == deaths
        assert sum(one.requeued for one in reaped) == len(held) - deaths

    @rule(worker=st.sampled_from(WORKERS))
    def vanish(self, worker: str) -> None:
        """processing → pending: the worker's lease has run out, and nobody knows why."""
        self.run(self.world.expire(worker, [other for other in WORKERS if other != worker]))
        reaped = self.run(self.frontier.leases.reap())
        assert {one.worker for one in reaped} <= {worker}
        held = [record for record in self.held() if record.worker == worker]
        for record in held:
            self.let_go(record, answer=False)
            record.crashes += 1
            if record.crashes < MAX_CRASHES:
                record.back()
            else:
                record.end("dead")
        assert sum(one.dead for one in reaped) == sum(record.state == "dead" for record in held)

    @rule(pick=st.none() | picks)
    def redrive(self, pick: int | None) -> None:
        """dead → pending, one or all."""
        letters = self.run(self.frontier.letters.newest(self.crawl.job))
        assert len(letters) == len({letter.id for letter in letters}) == len(self.in_state("dead"))
        chosen = letters if pick is None else [self.pick(letters, pick)] if letters else []
        ids = None if pick is None else [letter.id for letter in chosen]
        assert self.run(self.frontier.letters.redrive(self.crawl.job, ids)) == len(chosen)
        numbers = {_number(letter.message) for letter in chosen}
        for record in self.in_state("dead"):
            if record.number in numbers:
                record.back()
                record.attempt = record.crashes = 0

    @rule(pick=st.none() | picks)
    def drop(self, pick: int | None) -> None:
        """dead → dropped, one or all."""
        letters = self.run(self.frontier.letters.newest(self.crawl.job))
        chosen = letters if pick is None else [self.pick(letters, pick)] if letters else []
        ids = None if pick is None else [letter.id for letter in chosen]
        assert self.run(self.frontier.letters.drop(self.crawl.job, ids)) == len(chosen)
        for letter in chosen:
            self.records[_number(letter.message)].end("dropped")

    @rule(host=st.integers(0, 4))
    def pause(self, host: int) -> None:
        """A person pauses a host."""
        name = f"h{host}.example"
        assert self.run(self.frontier.pauses.pause(self.crawl.job, "host", name, "why")) == (name not in self.paused)
        self.paused.add(name)

    @precondition(lambda self: self.paused)
    @rule(pick=picks)
    def resume(self, pick: int) -> None:
        """A person resumes a host."""
        name = self.pick(sorted(self.paused), pick)
        assert self.run(self.frontier.pauses.resume(self.crawl.job, "host", name))
        self.paused.remove(name)

    @rule(seeder=st.sampled_from(("s1", "s2")), begins=st.booleans())
    def seed(self, seeder: str, begins: bool) -> None:
        """A seeder begins or ends."""
        self.run(self.frontier.adding.seeding(self.crawl.job, seeder, LONG if begins else 0.0))
        self.seeders ^= {seeder} & self.seeders if not begins else {seeder} - self.seeders
        self.ended_seeding |= not begins

    @rule(limit=st.integers(1, 5))
    def export(self, limit: int) -> None:
        """Outbox → sink."""
        entries = self.run(self.crawl.outbox.read(self.crawl.job, {}, limit))
        self.exported.update(item for entry in entries for item in entry.items)
        self.waiting -= len(entries)
        positions = {entry.shard: entry.position for entry in entries}
        self.run(self.crawl.outbox.acknowledge(self.crawl.job, Exported(positions)))

    @rule()
    def drain(self) -> None:
        """Claims return everything that may be claimed, once, and all items reach the sink: nothing is lost."""
        while self.paused:
            self.resume(0)
        self.claim("w1", 1_000)
        while held := self.held():
            self.commit(0, len(held), Done(), [], 1)
            self.claim("w1", 1_000)
        assert not [record for record in self.in_state("pending") if record.due == NOW]
        for _ in range(self.waiting):
            self.export(1)
        assert self.exported == self.items

    # --- what is always true

    @invariant()
    def the_counters_are_the_models(self) -> None:
        """No request is in two states, none is lost, none is doubled; `finished` is exact."""
        stats = self.run(self.frontier.reading.stats(self.crawl.job))
        states = Counter(record.state for record in self.records.values())
        assert (stats.pending, stats.processing) == (states["pending"], states["processing"])
        assert (stats.done, stats.dead, stats.dropped) == (states["done"], states["dead"], states["dropped"])
        assert stats.known == len(self.records)
        assert stats.outbox == self.waiting
        assert stats.seeding == len(self.seeders)
        assert stats.asking == len(self.askers)
        assert {pause.name for pause in stats.paused} == self.paused
        begun = bool(self.records) or self.ended_seeding
        unfinished = states["pending"] + states["processing"] + len(self.seeders)
        assert stats.finished == (begun and not unfinished)
        assert stats.counters.get("links/other_callback", 0) == len(self.others)
        assert all(value >= 0 for value in stats.counters.values())
        assert set(self.exported.values()) <= {1}

    # --- the model

    def ledgers(self, host: str) -> list[str]:
        """The host or group whose cap a request counts against."""
        return [name for name in (host, self.groups.get(host)) if name]

    def request(self, link: Link) -> Request:
        """The request of a link, with a number that identifies it."""
        return Request(
            f"http://h{link.host}.example/{link.page}",
            priority=link.priority,
            dont_filter=link.dont_filter,
            delay=LONG if link.late else 0.0,
            callback=link.callback,
            meta={"n": next(self.numbers)},
        )

    def admit(self, link: Link, request: Request, word: object = None) -> bool:
        """Admit a link. `word` identifies a `dont_filter` link, because its page may be visited again."""
        mark = request.url if not link.dont_filter else word
        if mark is not None and mark in self.known:
            if not link.dont_filter and link.callback != self.callbacks[request.url]:
                self.others.add((request.url, link.callback))
            return False
        if not link.dont_filter:
            self.callbacks[request.url] = link.callback
        self.known.add(mark)
        number = request.meta["n"]
        self.records[number] = Record(number, f"h{link.host}.example", link.priority, LATE if link.late else NOW)
        return True

    def hand_out(self, worker: str, lease: Lease) -> None:
        record = self.records[lease.request.meta["n"]]
        assert record.state == "pending"
        assert record.due != LATE
        assert record.host not in self.paused
        assert record.host not in self.askers
        assert (lease.attempt, lease.delivery, lease.host) == (record.attempt, record.delivery, record.host)
        record.state, record.worker, record.lease = "processing", worker, lease

    def check_priorities(self, leases: Sequence[Lease]) -> None:
        """Check that no request of the same host with a higher priority was left."""
        for lease in leases:
            waiting = (record for record in self.in_state("pending") if record.due == NOW)
            better = [r for r in waiting if r.host == lease.host and r.priority > lease.request.priority]
            assert not better

    def settle(self, record: Record, outcome: Outcome) -> None:
        match outcome:
            case Retry(_, delay):
                record.back(LATE if delay else NOW)
                record.attempt += 1
            case Release(_, delay):
                record.back(LATE if delay else NOW)
            case Done() | Skip():
                record.end("done")
            case _:
                record.end("dead")

    def let_go(self, record: Record, *, answer: bool) -> None:
        if self.askers.get(record.host) is record:
            del self.askers[record.host]
        self.old.append((record.worker, leased(record), answer))

    def held(self) -> list[Record]:
        return self.in_state("processing")

    def in_state(self, state: str) -> list[Record]:
        return [record for record in self.records.values() if record.state == state]

    def pick(self, choices: Sequence[T], number: int) -> T:
        return choices[number % len(choices)]


def leased(record: Record) -> Lease:
    """The lease of a request in flight."""
    assert record.lease is not None
    return record.lease


def _number(message: str) -> int:
    return int(message.rpartition('"n":')[2].partition("}")[0])


@pytest.mark.timeout(3600)
def test_the_backend_does_what_the_model_does(new_world: Callable[[], World]) -> None:
    """Run thousands of random steps."""
    settings = hypothesis.settings(
        max_examples=max(3, int(hypothesis.settings().max_examples * new_world().examples)),
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
    )
    run_state_machine_as_test(cast(type[Machine], partial(Machine, new_world)), settings=settings)
