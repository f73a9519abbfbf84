"""What is always true of a frontier in Redis, read from the raw keys: nothing of the crawler is imported.

    check(server.url)                       # raises AssertionError with every rule that is broken
    read(server.url).violations()           # the same as a list
    read(server.url).account()              # what the state says, without its times: two runs can be compared

All keys are read in one script, so it may be called at any moment, also while workers are at it. Bytes that a person
has put into a queue by hand are known to no counter until they have been claimed; until then they break the rules.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import redis

_READ = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind, content = redis.call('TYPE', key).ok, nil
  if kind == 'string' then content = redis.call('GET', key)
  elseif kind == 'list' then content = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'hash' then content = redis.call('HGETALL', key)
  elseif kind == 'set' then content = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else content = redis.call('XRANGE', key, '-', '+') end
  found[#found + 1] = { key, kind, content }
end
return found
"""
_HEAD = re.compile(rb'\[\d+,(\d+),(\d+),(\d+),(-?\d+),"https?://(\[[^\]]*\]|[^/:?#"]+)([^"]*)"')
_KEY = re.compile(r"\{(.+):(\d+)\}:(.+)", re.DOTALL)


def check(*urls: str, prefix: str = "crawler") -> None:
    """Raise `AssertionError` that names every broken rule. `urls`: of all servers that have shards."""
    broken = read(*urls, prefix=prefix).violations()
    assert not broken, "\n".join(broken)


def read(*urls: str, prefix: str = "crawler") -> State:
    """The whole frontier as it is at one moment; on several servers, at one moment on each."""
    rows: list[list[Any]] = []
    for url in urls:
        with redis.Redis.from_url(url) as client:
            rows += cast("list[list[Any]]", client.eval(_READ, 0, f"{{{prefix}:*"))
    state = State({key: _content(kind, content) for key, kind, content in rows})
    for key, content in state.raw.items():
        state.place(key.decode(), content)
    return state


def _content(kind: bytes, content: Any) -> Any:
    match kind:
        case b"hash" | b"zset":
            return dict(zip(content[::2], content[1::2], strict=True))
        case b"set":
            return frozenset(content)
        case b"list":
            return tuple(content)
    return content


@dataclass(frozen=True)
class Entry:
    """One request where it lies."""

    state: str  # pending | delayed | processing | dead
    message: bytes
    line: str = ""  # `PRIORITY:HOST` of its pending list
    worker: str = ""

    @cached_property
    def head(self) -> tuple[int, int, int, int, str, str] | None:
        """(delivery, attempt, crashes, priority, host, rest of the URL); None: bytes that are no request."""
        match = _HEAD.match(self.message)
        if match is None:
            return None
        return (*map(int, match.groups()[:4]), match[5].decode("utf-8", "replace"), match[6].decode("utf-8", "replace"))  # type: ignore[return-value]

    @property
    def host(self) -> str:
        """Whose request it is."""
        return self.head[4] if self.head else ""

    @property
    def identity(self) -> bytes:
        """What no two requests of a job have in common."""
        return self.message.split(b",", 4)[-1] if self.head else self.message

    def __str__(self) -> str:
        return f"{self.state} {self.message[:120]!r}"


@dataclass
class JobPart:
    """One job in one shard."""

    name: str
    stats: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    hosts: dict[str, float] = field(default_factory=dict)
    in_line: dict[str, str] = field(default_factory=dict)  # host → group whose turn it waits for
    groups: dict[str, float] = field(default_factory=dict)
    levels: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[int, frozenset[bytes]] = field(default_factory=dict)
    scope: frozenset[bytes] = frozenset()
    outbox: list[list[bytes]] = field(default_factory=list)  # lines of each page
    exporter: bytes = b""

    def count(self, name: str) -> int:
        """One counter."""
        return int(self.stats.get(name, 0))

    def sum(self, prefix: str) -> int:
        """Of the counters of that kind."""
        return sum(int(value) for name, value in self.stats.items() if name.startswith(prefix))

    def in_state(self, *states: str) -> list[Entry]:
        """The requests that are there."""
        return [entry for entry in self.entries if entry.state in states]


@dataclass
class Shard:
    """The keys with one hash tag."""

    jobs: dict[str, JobPart] = field(default_factory=dict)
    ledger: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    workers: frozenset[str] = frozenset()
    asking: dict[str, bytes] = field(default_factory=dict)  # host → the lease that has it to itself
    workers_jobs: dict[str, frozenset[bytes]] = field(default_factory=dict)
    turns: dict[str, dict[str, str]] = field(default_factory=dict)  # worker → lease in another shard → group
    rules: dict[str, bytes] = field(default_factory=dict)  # what is in force → its number
    changes: list[str] = field(default_factory=list)  # of the rules, as they are logged
    schedules: dict[str, Any] = field(default_factory=dict)  # schedule → its timetable, without the revision


class State:
    """A frontier. `raw`: key → content, by which two moments can be compared byte by byte."""

    def __init__(self, raw: dict[bytes, Any]) -> None:
        self.raw = raw
        self.shards: defaultdict[int, Shard] = defaultdict(Shard)

    def account(self) -> dict[str, Any]:
        """What the state says of its requests, hosts and workers, without times and chance; equal after equal work."""
        found: dict[str, Any] = {}
        for number, shard in sorted(self.shards.items()):
            for job in shard.jobs.values():
                counters = {name: value for name, value in job.stats.items() if name != "epoch" and value != "0"}
                if "closed" in counters:
                    counters["closed"] = re.sub(r" \d+ ", " ", counters["closed"], count=1)  # when
                entries = sorted(
                    repr((entry.state, entry.worker, entry.head or entry.message)) for entry in job.entries
                )
                found[f"{number} {job.name}"] = (counters, entries, sorted(job.outbox), sorted(job.scope), job.exporter)
            found[f"{number} in flight"] = {host: _in_flight(it) for host, it in shard.ledger.items() if _in_flight(it)}
            found[f"{number} asking"] = shard.asking
            found[f"{number} turns"] = {worker: sorted(its.values()) for worker, its in shard.turns.items()}
            found[f"{number} workers"] = sorted(shard.workers)
            found[f"{number} rules"] = (shard.rules, shard.changes)
            found[f"{number} schedules"] = shard.schedules
        return found

    def violations(self) -> list[str]:
        """Every broken rule in words; empty: all is well."""
        return [
            f"shard {number}: {text}"
            for number, shard in sorted(self.shards.items())
            for text in (*_ledger_rules(shard), *(text for job in _living(shard) for text in _job_rules(shard, job)))
        ]

    def place(self, key: str, content: Any) -> None:
        """Sort one key in where it belongs."""
        match = _KEY.fullmatch(key)
        assert match is not None, f"a key without a hash tag: {key}"
        shard, rest = self.shards[int(match[2])], match[3]
        kind, _, name = rest.partition(":")
        if kind == "job":
            job, _, part = name.partition(":")
            _place(shard.jobs.setdefault(job, JobPart(job)), part, content)
        elif kind == "host":
            shard.ledger[name] = content
        elif kind == "workers":
            shard.workers = frozenset(worker.decode() for worker in content)
        elif kind == "asking":
            shard.asking = {host.decode(): lease for host, lease in content.items()}
        elif kind == "rules":
            shard.rules = {rule.decode(): text.partition(b" ")[0] for rule, text in content.items()}
        elif kind == "schedules":
            tables = {name.decode(): json.loads(record.partition(b" ")[2]) for name, record in content.items()}
            shard.schedules = {name: {**table, "revision": ""} for name, table in tables.items()}
        elif kind == "control":
            shard.changes = [change.decode() for change, _ in content]
        elif kind == "worker" and isinstance(content, frozenset):
            shard.workers_jobs[name.removesuffix(":jobs")] = content
        elif kind == "worker" and name.endswith(":turns"):
            shard.turns[name.removesuffix(":turns")] = {its.decode(): group.decode() for its, group in content.items()}


def _place(job: JobPart, part: str, content: Any) -> None:
    kind, _, name = part.partition(":")
    if kind == "stats":
        job.stats = {name.decode(): value.decode() for name, value in content.items()}
    elif kind == "pending":
        job.entries += [Entry("pending", message, line=name) for message in content]
    elif kind == "delayed":
        job.entries += [Entry("delayed", message) for message in content]
    elif kind == "processing":
        job.entries += [Entry("processing", message, worker=name) for message in content]
    elif kind == "dead":
        letters = [json.loads(record.decode("utf-8", "surrogateescape")) for record in content.values()]
        job.entries += [Entry("dead", letter["message"].encode("utf-8", "surrogateescape")) for letter in letters]
    elif kind in ("hosts", "held"):  # both are looked at when their time has come
        job.hosts |= {host.decode(): float(score) for host, score in content.items()}
    elif kind == "line":
        job.in_line |= {host.decode(): name for host in content}
    elif kind == "groups":
        job.groups = {group.decode(): float(score) for group, score in content.items()}
    elif kind == "levels":
        job.levels = {host.decode(): levels.decode().split() for host, levels in content.items()}
    elif kind == "seen":
        job.seen[int(name)] = content
    elif kind in ("scope", "exporter"):
        setattr(job, kind, content)
    elif kind == "outbox":
        # a redriven item has been in the outbox before
        job.outbox = [fields[1].split(b"\n") for _, fields in content if b"t" not in fields[::2]]


def _living(shard: Shard) -> list[JobPart]:
    """Jobs that are not being deleted."""
    return [job for job in shard.jobs.values() if "epoch" in job.stats]


def _in_flight(ledger: dict[bytes, bytes]) -> int:
    return int(ledger.get(b"inflight", 0))


# ---------------------------------------------------------------------------------------------------------
# The rules


def _ledger_rules(shard: Shard) -> Iterator[str]:
    """Requests in flight to a host, or to a group of hosts, lie in processing lists, of all jobs together. Of a group
    at home here, others lie in other shards: those that have a turn."""
    held = Counter(entry.host for job in shard.jobs.values() for entry in job.in_state("processing"))
    for host, count in list(held.items()):
        if group := shard.ledger.get(host, {}).get(b"group", b"").decode():
            held[group] += count
    held.update(group for turns in shard.turns.values() for group in turns.values())
    for host in sorted(held.keys() | shard.ledger.keys()):
        booked = _in_flight(shard.ledger.get(host, {}))
        if booked != held[host]:
            yield f"host {host}: {booked} in flight in the ledger, {held[host]} in processing lists and turns"
    leases = {
        (entry.host, f"{job.name}\n{entry.worker}\n".encode() + entry.message)
        for job in shard.jobs.values()
        for entry in job.in_state("processing")
    }
    for host, lease in shard.asking.items():
        if (host, lease) not in leases:
            yield f"host {host} is asked for its robots.txt by a lease that nobody holds: {lease!r}"


def _job_rules(shard: Shard, job: JobPart) -> Iterator[str]:
    for rule in (_counter_rules, _state_rules, _seen_rules):
        for text in rule(job):
            yield f"job {job.name}: {text}"
    for rule_of_both in (_line_rules, _holder_rules):
        for text in rule_of_both(shard, job):
            yield f"job {job.name}: {text}"


def _counter_rules(job: JobPart) -> Iterator[str]:
    """The counters equal what the lists hold, and add up."""
    count = job.count
    now = count("pending") + count("processing")
    ended = count("done") + count("dead") + count("dropped")
    written = sum(map(len, job.outbox))
    for name, value, what, wanted in (
        ("pending", count("pending"), "in lists and delayed", len(job.in_state("pending", "delayed"))),
        ("processing", count("processing"), "in processing lists", len(job.in_state("processing"))),
        ("dead", count("dead"), "dead letters", len(job.in_state("dead"))),
        ("known", count("known"), "in all states", now + ended),
        ("admitted", count("admitted"), "known + redriven", count("known") + count("redriven")),
        ("finished", count("finished"), "ended + redriven", ended + count("redriven")),
        ("done", count("done"), "pages + skipped", count("pages") + job.sum("skip/")),
        ("dead/*", job.sum("dead/"), "dead + dropped + redriven", ended - count("done") + count("redriven")),
        ("lined", count("lined"), "hosts in lines of groups", len(job.in_line)),
        ("items", max(count("items"), written), "at least the lines in the outbox", count("items")),
    ):
        if value != wanted:
            yield f"{name} is {value}, but {what}: {wanted}"
    for name, text in job.stats.items():
        if name not in ("epoch", "closed", "quota") and int(text) < 0:  # the home's quota, while others have its budget
            yield f"{name} is {text}"
    if "taken" in job.stats and "quota" in job.stats and count("quota") != count("taken") - count("returned"):
        yield f"quota is {count('quota')}, but taken less returned: {count('taken') - count('returned')}"


def _state_rules(job: JobPart) -> Iterator[str]:
    """No request is in two places, and no bytes are where only requests may be."""
    places: defaultdict[bytes, list[Entry]] = defaultdict(list)
    for entry in job.entries:
        places[entry.identity].append(entry)
        if entry.head is None and entry.state != "dead":
            yield f"no request: {entry}"
    for entries in places.values():
        if len(entries) > 1:
            yield f"in {len(entries)} places: {', '.join(map(str, entries))}"


def _seen_rules(job: JobPart) -> Iterator[str]:
    """What is known has its fingerprint in the bucket where the next `add` will look for it; junk has none. Beside
    fingerprints there are marks of callbacks and of redirected requests."""
    buckets, total = job.count("buckets"), sum(map(len, job.seen.values()))
    marks = job.count("marks") + job.count("redirected")
    if total - marks != job.count("known") - job.count("again") - job.count("dead/junk"):
        yield (
            f"{total} fingerprints, of them {marks} marks, "
            f"but known is {job.count('known')}, of that {job.count('again')} admitted again, "
            f"junk {job.count('dead/junk')}"
        )
    low = 1 << (buckets.bit_length() - 1)
    for number, members in job.seen.items():
        for member in members:
            place = int(float(member)) // 2048
            wanted = place % (2 * low) if place % (2 * low) < buckets else place % low
            if wanted != number:
                yield f"fingerprint {member.decode()} lies in bucket {number} of {buckets}, not in {wanted}"


def _line_rules(shard: Shard, job: JobPart) -> Iterator[str]:
    """Each waiting request lies in its own host's line, and somebody will look at that line."""
    lines = {entry.line for entry in job.in_state("pending")}
    for entry in job.in_state("pending"):
        if entry.head and entry.line != f"{entry.head[3]}:{entry.host}":
            yield f"in the line {entry.line}: {entry}"
    for line in sorted(lines):
        priority, _, host = line.partition(":")
        if priority not in job.levels.get(host, ["0"]):
            yield f"line {line} is not among the levels {job.levels.get(host)} of its host"
        group = job.in_line.get(host, "")
        is_next = host in job.hosts or _wakes(shard, host, job.name)
        if not is_next and group not in job.groups and not _wakes(shard, group, f"@{job.name}"):
            yield f"nobody will ever look at line {line}"


def _wakes(shard: Shard, name: str, job: str) -> bool:
    """Whether the end of a request in flight makes this job look at a host, or at the line of a group."""
    ledger = shard.ledger.get(name, {})
    return job.encode() in ledger.get(b"waiting", b"").split() and _in_flight(ledger) > 0


def _holder_rules(shard: Shard, job: JobPart) -> Iterator[str]:
    """Whoever holds requests can be found by the reaper."""
    for worker in sorted({entry.worker for entry in job.in_state("processing")}):
        if worker not in shard.workers:
            yield f"worker {worker} holds requests, but has no lease"
        if job.name.encode() not in shard.workers_jobs.get(worker, frozenset()):
            yield f"worker {worker} holds requests, but the job is not among its jobs"
