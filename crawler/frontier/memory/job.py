"""One job of the in-process frontier: its known, pending and dead requests, its outbox and its counters."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from crawler.frontier.memory.ledger import Ledger
from crawler.frontier.memory.lines import Entry, Lines
from crawler.frontier.memory.outcomes import Outcomes
from crawler.frontier.message import decode, encode
from crawler.frontier.redis.health import Finding
from crawler.model import Dead, Done, Failure, Job, OutboxEntry, Release, Request, Retry, Skip, Visit
from crawler.parsing.url import dedup_key, fingerprint, host_of
from crawler.policy import counts, verdict
from crawler.status import DeadLetter, HostTurn, JobStats, Sighting, Skipped, Trace

SHARD = 0  # there is only one
MAX_SKIPS = 10_000  # remembered, the last ones


class MemoryJob:
    """Every method is one step of the state table, and knows nothing of workers and of other jobs."""

    def __init__(self, job: Job, outcomes: Outcomes | None = None) -> None:
        self.job = job
        self.outcomes = outcomes or Outcomes(share=1.0, least=1)
        self.lines = Lines(lifo=job.order == "lifo")
        self.scope: set[str] = set()  # hosts that were seeded
        self.processing = 0
        self.counters: Counter[str] = Counter()
        self.skips: deque[Skipped] = deque(maxlen=MAX_SKIPS)
        self.room = asyncio.Event()  # set when a request has left `pending`
        self._seen: dict[int, str] = {}  # → the callback it was admitted for
        self._others: set[tuple[int, str]] = set()  # callbacks that requests for known URLs named instead
        self._other_example: dict[str, str] = {}  # of each of these the first URL
        self._begun = False  # a request was admitted, or a seeder has ended without any
        self._seeders: dict[str, float] = {}  # until when each is at work
        self._known = self._done = self._dropped = 0
        self._dead: dict[str, tuple[Entry, DeadLetter]] = {}  # oldest first
        self._ids = itertools.count(1)
        self._outbox: deque[OutboxEntry] = deque()
        self._positions = itertools.count(1)
        self._exporter, self._held_until = "", 0.0

    @property
    def outbox(self) -> int:
        """Pages whose items wait for the exporter."""
        return len(self._outbox)

    # --- (unknown) → pending

    def prepare(self, request: Request, word: str) -> Entry:
        """A request as it will lie in the queue. `word` keeps a `dont_filter` one apart from others of its URL.

        It goes through the wire format and back: what could not travel fails here too, before anything has
        changed. Raises `TypeError` and `ValueError` as `encode` and `decode` do.
        """
        nonce = word if request.dont_filter else ""
        message = encode(request, nonce)
        travelled = decode(message).request
        return Entry(self.job.name, travelled, host_of(request.url), message, _mark(request, nonce), request.delay)

    def admit(self, entry: Entry, now: float) -> bool:
        """Into its line, unless it is known."""
        if entry.mark in self._seen:
            self._note_other(entry)
            return False
        self._seen[entry.mark] = entry.request.callback
        self._known += 1
        self._begun = True
        self._put(entry, entry.delay, now)
        return True

    def _note_other(self, entry: Entry) -> None:
        """Count a request for a known URL that names another callback, once for each."""
        callback, url = entry.request.callback, entry.request.url
        if callback != self._seen[entry.mark] and (entry.mark, callback) not in self._others:
            self._others.add((entry.mark, callback))
            self._other_example.setdefault(callback, url)
            self.counters["links/other_callback"] += 1
            self.skips.append(Skipped(url, "other_callback", callback, time.time()))

    def note_seeder(self, seeder: str, seconds: float, now: float) -> None:
        """It will go on adding for `seconds`; 0: it has ended."""
        self._begun = self._begun or seconds <= 0
        self._seeders[seeder] = now + seconds

    def _put(self, entry: Entry, delay: float, now: float, *, front: bool = False) -> None:
        if delay > 0:
            self.lines.push_delayed(entry, now + delay)
        else:
            self.lines.push(entry, front=front)

    # --- processing → done | pending | dead

    def end(self, entry: Entry, visit: Visit, finding: Finding, worker: str, now: float) -> None:
        """What a visit decided, unless it was not the page's fault."""
        if finding.counter:
            self.counters[finding.counter] += 1
        if finding.is_hopeless:
            self.outcomes.pause(("host", entry.host), "busy for two days")
        self.outcomes.watch(entry, verdict(visit))
        if visit.status is not None:
            self.counters[f"status/{visit.status}"] += 1
        self.counters["bytes"] += visit.size
        self.counters.update(counts(visit))
        match visit.outcome:
            case Retry() | Dead(spent=True) if finding.is_hosts:
                self.counters["spared"] += 1
                self.put_back(entry, 0.0, now)
            case Done():
                self._finish("pages")
                self._send(visit.items)
            case Skip(reason, detail):
                self._skip(entry, reason, detail)
            case Retry(_, delay):
                self.put_back(entry, delay, now, failed=1)
            case Release(delay=delay):
                self.counters["released"] += 1
                self.put_back(entry, delay, now)
            case Dead(failure):
                self.die(entry, failure, worker)
                self._send(visit.items)  # of its errback

    def put_back(self, entry: Entry, delay: float, now: float, *, failed: int = 0, crashed: int = 0) -> None:
        """To the front of its line, or there after `delay` seconds."""
        self.counters["retried"] += failed
        entry.come_back(failed=failed, crashed=crashed)
        self._put(entry, delay, now, front=True)

    def set_aside(self, entry: Entry, delay: float, now: float) -> None:
        """The same, with its bytes unchanged."""
        self.counters["set_aside"] += 1
        self._put(entry, delay, now, front=True)

    def strike(self, blocked: Callable[[Entry], str]) -> None:
        """pending → done for what must never be handed out; `blocked` says by which rule."""
        for entry in self.lines.sweep(lambda entry: bool(blocked(entry))):
            self._skip(entry, "blocked", blocked(entry))

    def _skip(self, entry: Entry, reason: str, detail: str) -> None:
        self._finish(f"skip/{reason}")
        self.skips.append(Skipped(entry.request.url, reason, detail, time.time()))

    def _finish(self, counter: str) -> None:
        self._done += 1
        self.counters[counter] += 1

    # --- the dead

    def die(self, entry: Entry, failure: Failure, worker: str) -> None:
        """Keep it among the dead letters."""
        letter = DeadLetter(
            id=f"{next(self._ids):012d}",
            url=entry.request.url,
            spider=entry.request.spider,
            callback=entry.request.callback,
            attempts=entry.attempt + 1,
            worker=worker,
            died=time.time(),
            failure=failure,
            message=entry.message.decode(),
            host=entry.host,
            deliveries=entry.delivery + 1,
        )
        self._dead[letter.id] = (entry, letter)
        self.counters[f"dead/{failure.kind}"] += 1

    def letters(self, limit: int) -> list[DeadLetter]:
        """Newest first."""
        return [letter for _, letter in itertools.islice(reversed(self._dead.values()), limit)]

    def chosen(self, ids: Collection[str] | None) -> list[DeadLetter]:
        """Those of these ids; None: all."""
        wanted = list(self._dead) if ids is None else dict.fromkeys(ids)
        return [self._dead[key][1] for key in wanted if key in self._dead]

    def drop(self, ids: Collection[str] | None) -> int:
        """dead → dropped; None: all."""
        letters = self.chosen(ids)
        for letter in letters:
            del self._dead[letter.id]
        self._dropped += len(letters)
        return len(letters)

    def redrive(self, ids: Collection[str] | None) -> int:
        """dead → pending; None: all."""
        entries = [self._dead.pop(letter.id)[0] for letter in self.chosen(ids)]
        for entry in entries:
            entry.pardon()
            self.lines.push(entry, front=True)
        self.counters["redriven"] += len(entries)
        return len(entries)

    # --- looking for one URL

    def trace(self, url: str, held: Iterable[tuple[str, Entry]], turns: Sequence[HostTurn], now: float) -> Trace:
        """`held`: the job's requests that workers have, with their names; `turns`: of its host, and of the group."""
        mark, host = fingerprint(dedup_key(url)), host_of(url)
        places = [
            *(_sighting("pending", entry, ahead=ahead) for ahead, entry in self.lines.line(host)),
            *(_sighting("delayed", entry, due=max(0.0, due - now)) for due, entry in self.lines.waiting()),
            *(_sighting("processing", entry, worker=worker) for worker, entry in held),
            *(_sighting("dead", entry, letter=letter) for entry, letter in self._dead.values()),
        ]
        key = dedup_key(url)
        sightings = tuple(one for one in places if dedup_key(one.request.url) == key)
        lately = [one for one in reversed(self.skips) if dedup_key(one.url) == key]
        subjects = [("job", self.job.name), ("host", host), *(("spider", one.request.spider) for one in sightings)]
        return Trace(
            mark in self._seen,
            host,
            turn=turns[0],
            group_turn=turns[-1] if len(turns) > 1 else HostTurn(),
            sightings=sightings,
            skipped=next((one for one in lately if one.reason != "other_callback"), None),
            other_callbacks=tuple(one.detail for one in lately if one.reason == "other_callback"),
            redirected_from=next(
                (o.url for o in reversed(self.skips) if (o.reason, o.detail) == ("redirect", url)), ""
            ),
            pauses=tuple(self.outcomes.paused[one] for one in dict.fromkeys(subjects) if one in self.outcomes.paused),
            seeded=host in self.scope,
        )

    # --- pauses

    @property
    def is_paused(self) -> bool:
        """Whether all of it is."""
        return ("job", self.job.name) in self.outcomes.paused

    def leaves_alone(self, entry: Entry) -> bool:
        """Whether its host or its spider is paused."""
        paused = self.outcomes.paused
        return bool(paused) and (("host", entry.host) in paused or ("spider", entry.request.spider) in paused)

    # --- the outbox

    def _send(self, items: tuple[bytes, ...]) -> None:
        if items:
            self._outbox.append(OutboxEntry(SHARD, f"{next(self._positions):020d}-0", items))
            self.counters["items"] += len(items)

    def read(self, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """The next entries behind a position."""
        last = after.get(SHARD, "")
        return list(itertools.islice((entry for entry in self._outbox if entry.position > last), limit))

    def acknowledge(self, positions: Mapping[int, str]) -> None:
        """Drop all up to a position."""
        while self._outbox and self._outbox[0].position <= positions.get(SHARD, ""):
            self._outbox.popleft()

    def hold(self, exporter: str, seconds: float, now: float) -> str:
        """Who exports from now on."""
        if self._held_until <= now or self._exporter == exporter:
            self._exporter = exporter if seconds > 0 else ""
            self._held_until = now + seconds
        return self._exporter

    def holder(self, now: float) -> str:
        """Who exports now; empty: nobody."""
        return self._exporter if self._held_until > now else ""

    # --- figures

    def stats(self, ledger: Ledger, now: float) -> JobStats:
        """All taken at one moment. O(hosts)."""
        ready, cooling, next_due = self.lines.outlook(ledger, now)
        seeding = sum(until > now for until in self._seeders.values())
        return JobStats(
            job=self.job.name,
            known=self._known,
            pending=len(self.lines),
            processing=self.processing,
            done=self._done,
            dead=len(self._dead),
            dropped=self._dropped,
            outbox=self.outbox,
            exporter=self.holder(now),
            seeding=seeding,
            cooling=cooling,
            ready=ready,
            asking=ledger.asked,
            next_due=next_due,
            delayed=self.lines.delayed,
            paused=tuple(self.outcomes.paused.values()),
            held=self.lines.held,
            other_callbacks=dict(self._other_example),
            finished=self._begun and not (len(self.lines) or self.processing or seeding),
            counters={name: count for name, count in sorted(self.counters.items()) if count},
        )


def _sighting(state: Any, entry: Entry, **more: Any) -> Sighting:
    return Sighting(state, entry.request, entry.attempt, entry.delivery, entry.crashes, **more)


def _mark(request: Request, nonce: str) -> int:
    key = dedup_key(request.url)
    if request.method != "GET" or request.body:
        key = f"{request.method} {key} {request.body.hex()}"
    return fingerprint(f"{nonce} {key}" if nonce else key)
