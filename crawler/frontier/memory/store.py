"""The data of a queue server in this process: the Redis commands that the scripts and the parts around them use.

Arguments are bytes, as on the wire; replies have the types of RESP2. What a command does here, it does on a server:
`tests/integration/test_memory_store.py` compares the two. A command or option that nobody uses is an error.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import ResponseError
from sortedcontainers import SortedList

T = TypeVar("T")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE).fullmatch
_INTEGER = re.compile(rb"0|-?[1-9]\d{0,18}").fullmatch
_LAST = 2**64 - 1  # sequence of an id in a stream
_SLACK = 100  # entries by which a stream may outgrow an approximate length


class Status(bytes):
    """A status reply: for scripts a table with `ok`."""


_OK = Status(b"OK")


class SortedSet:
    """Members by (score, bytes)."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: Any = SortedList()

    def __len__(self) -> int:
        return len(self.scores)

    def put(self, member: bytes, score: float) -> None:
        """Add it, or move it."""
        self.drop(member)
        self.scores[member] = score
        self.order.add((score, member))

    def drop(self, member: bytes) -> int:
        """How many were removed: 1 or 0."""
        score = self.scores.pop(member, None)
        if score is None:
            return 0
        self.order.remove((score, member))
        return 1

    def between(self, low: tuple[float, bool], high: tuple[float, bool]) -> range:
        """The indexes of the members with scores in these bounds, each with whether it is excluded."""
        start = self._after(low[0]) if low[1] else self._rank(low[0])
        stop = self._rank(high[0]) if high[1] else self._after(high[0])
        return range(start, max(start, stop))

    def _rank(self, score: float) -> int:
        return int(self.order.bisect_left((score,)))

    def _after(self, score: float) -> int:
        return len(self.order) if score == math.inf else self._rank(math.nextafter(score, math.inf))


class _Trim(NamedTuple):
    """How much of a stream is kept: from its `first` id on, or its last `length` entries and up to `slack` more."""

    first: tuple[int, int] | None = None
    length: int = 0
    slack: int = 0


class Stream:
    """Entries by id. It stays when its last entry is trimmed."""

    __slots__ = ("entries", "last")

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[int, int], list[bytes]]] = []
        self.last = (0, 0)

    def between(self, first: tuple[int, int], end: tuple[int, int]) -> list[tuple[tuple[int, int], list[bytes]]]:
        """Those from `first` on and before `end`."""
        return self.entries[self.index(first) : self.index(end)]

    def index(self, name: tuple[int, int]) -> int:
        """Of the first entry that is not before that id."""
        return bisect_left(self.entries, (name,))

    def trim(self, limit: _Trim) -> int:
        """Obey it. How many entries went."""
        if limit.first is None:
            surplus = len(self.entries) - limit.length
            count = max(0, surplus) if surplus >= limit.slack else 0
        else:
            count = self.index(limit.first)
        del self.entries[:count]
        return count


class Store:
    """Keys and their values. `clock`: seconds since the epoch that never run backwards; `added` is called with the key
    of a stream that has another entry.

    Not safe for threads. `commands` has each command by its name in capitals.
    """

    def __init__(self, clock: Callable[[], float], added: Callable[[bytes], None] = lambda key: None) -> None:
        self._clock = clock
        self._added = added
        self._values: dict[bytes, Any] = {}
        # When keys expire (ms), the one that was looked at longest ago first.
        self._deadlines: OrderedDict[bytes, int] = OrderedDict()
        self.now = 0  # microseconds; stands still while a script runs
        self.tick()
        self.commands: dict[bytes, Callable[..., Any]] = {
            name[4:].upper().encode(): getattr(self, name) for name in dir(self) if name.startswith("cmd_")
        }

    def tick(self) -> None:
        """The next command or script begins."""
        self.now = int(self._clock() * 1_000_000)

    def execute(self, name: bytes, *arguments: bytes) -> Any:
        """Run one command. Raises `ResponseError`."""
        command = self.commands.get(name) or self.commands.get(name.upper())
        if command is None:
            raise ResponseError(f"unknown command {name.decode(errors='replace')!r}: not part of memory://")
        return command(*arguments)

    # --- keys

    def _live(self, key: bytes) -> Any:
        if key in self._deadlines and self._deadlines[key] * 1000 <= self.now:
            self._remove(key)
        return self._values.get(key)

    def _find(self, key: bytes, kind: type[T]) -> T | None:
        value = self._live(key)
        if value is not None and type(value) is not kind:
            raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def _get(self, key: bytes, kind: type[T]) -> T:
        """To read from: an empty one when there is none."""
        found = self._find(key, kind)
        return kind() if found is None else found

    def _make(self, key: bytes, kind: type[T]) -> T:
        """To write to."""
        found = self._find(key, kind)
        if found is None:
            found = self._values[key] = kind()
        return found

    def _remove(self, key: bytes) -> None:
        del self._values[key]
        self._deadlines.pop(key, None)

    def _tidy(self, key: bytes, value: Any) -> None:
        """What is empty does not exist."""
        if not value and key in self._values:
            self._remove(key)

    def _limit(self, key: bytes, milliseconds: int) -> None:
        """Each new time limit looks at one other key, so that those which nobody asks for any more go, too."""
        self._deadlines[key] = self.now // 1000 + milliseconds
        oldest = next(iter(self._deadlines))
        self._deadlines.move_to_end(oldest)
        self._live(oldest)

    def cmd_time(self) -> list[bytes]:
        return [b"%d" % (self.now // 1_000_000), b"%d" % (self.now % 1_000_000)]

    def cmd_exists(self, key: bytes) -> int:
        return int(self._live(key) is not None)

    def cmd_type(self, key: bytes) -> Status:
        return Status(_TYPES[type(self._live(key))])

    def cmd_del(self, *keys: bytes) -> int:
        found = [key for key in dict.fromkeys(keys) if self._live(key) is not None]
        for key in found:
            self._remove(key)
        return len(found)

    cmd_unlink = cmd_del

    def cmd_scan(self, cursor: bytes, *options: bytes) -> list[Any]:
        """All at once."""
        given = _options(options, b"MATCH", b"COUNT")
        matches = _glob(given.get(b"MATCH", b"*"))
        return [b"0", [key for key in list(self._values) if matches(key) and self._live(key) is not None]]

    def cmd_pexpire(self, key: bytes, milliseconds: bytes) -> int:
        limit = _integer(milliseconds)
        if self._live(key) is None:
            return 0
        if limit <= 0:
            self._remove(key)
        else:
            self._limit(key, limit)
        return 1

    def cmd_expire(self, key: bytes, seconds: bytes) -> int:
        return self.cmd_pexpire(key, b"%d" % (_integer(seconds) * 1000))

    def cmd_pttl(self, key: bytes) -> int:
        if self._live(key) is None:
            return -2
        return self._deadlines[key] - self.now // 1000 if key in self._deadlines else -1

    # --- strings

    def cmd_get(self, key: bytes) -> bytes | None:
        return self._find(key, bytes)

    def cmd_mget(self, *keys: bytes) -> list[bytes | None]:
        found = [self._live(key) for key in keys]
        return [value if type(value) is bytes else None for value in found]

    def cmd_set(self, key: bytes, value: bytes, *options: bytes) -> Status | None:
        given = _options(options, b"PX", flags=(b"NX",))
        if b"NX" in given and self._live(key) is not None:
            return None
        if b"PX" in given and _integer(given[b"PX"]) <= 0:
            raise ResponseError("invalid expire time in 'set' command")
        self._deadlines.pop(key, None)
        self._values[key] = value
        if b"PX" in given:
            self._limit(key, _integer(given[b"PX"]))
        return _OK

    # --- hashes

    def cmd_hset(self, key: bytes, *pairs: bytes) -> int:
        if not pairs or len(pairs) % 2:
            raise ResponseError("wrong number of arguments for 'hset' command")
        found = self._make(key, dict)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def cmd_hsetnx(self, key: bytes, field: bytes, value: bytes) -> int:
        found = self._make(key, dict)
        before = len(found)
        found.setdefault(field, value)
        return len(found) - before

    def cmd_hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._get(key, dict).get(field)

    def cmd_hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        found = self._get(key, dict)
        return [found.get(field) for field in fields]

    def cmd_hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in self._get(key, dict).items() for part in pair]

    def cmd_hkeys(self, key: bytes) -> list[bytes]:
        return list(self._get(key, dict))

    def cmd_hlen(self, key: bytes) -> int:
        return len(self._get(key, dict))

    def cmd_hexists(self, key: bytes, field: bytes) -> int:
        return int(field in self._get(key, dict))

    def cmd_hdel(self, key: bytes, *fields: bytes) -> int:
        found = self._get(key, dict)
        count = sum(found.pop(field, None) is not None for field in fields)
        self._tidy(key, found)
        return count

    def cmd_hincrby(self, key: bytes, field: bytes, by: bytes) -> int:
        step = _integer(by)
        found = self._find(key, dict) or {}
        number = _integer(found.get(field, b"0"), "hash value is not an integer") + step
        if not -(2**63) <= number < 2**63:
            raise ResponseError("increment or decrement would overflow")
        self._make(key, dict)[field] = b"%d" % number
        return number

    def cmd_hscan(self, key: bytes, cursor: bytes, *options: bytes) -> list[Any]:
        """All at once."""
        _options(options, b"COUNT")
        return [b"0", self.cmd_hgetall(key)]

    def cmd_hrandfield(self, key: bytes, count: bytes, *options: bytes) -> list[bytes]:
        if options != (b"WITHVALUES",) or _integer(count) < 0:
            raise _unknown(*options)
        pairs = list(self._get(key, dict).items())
        return [part for pair in random.sample(pairs, min(len(pairs), _integer(count))) for part in pair]

    # --- lists

    def cmd_lpush(self, key: bytes, *values: bytes) -> int:
        found = self._make(key, deque)
        found.extendleft(values)
        return len(found)

    def cmd_rpush(self, key: bytes, *values: bytes) -> int:
        found = self._make(key, deque)
        found.extend(values)
        return len(found)

    def cmd_lpop(self, key: bytes) -> bytes | None:
        return self._pop(key, deque.popleft)

    def cmd_rpop(self, key: bytes) -> bytes | None:
        return self._pop(key, deque.pop)

    def _pop(self, key: bytes, end: Callable[[deque[bytes]], bytes]) -> bytes | None:
        found = self._find(key, deque)
        if found is None:
            return None
        value = end(found)
        self._tidy(key, found)
        return value

    def cmd_rpoplpush(self, key: bytes, other: bytes) -> bytes | None:
        if self._find(key, deque) is None:
            return None
        self._find(other, deque)  # of the wrong type: before anything is taken
        value = self.cmd_rpop(key)
        assert value is not None  # noqa: S101 - an empty list does not exist
        self.cmd_lpush(other, value)
        return value

    def cmd_llen(self, key: bytes) -> int:
        return len(self._get(key, deque))

    def cmd_lindex(self, key: bytes, index: bytes) -> bytes | None:
        found = self._find(key, deque)
        if found is None:
            return None
        at = _integer(index)
        return found[at] if -len(found) <= at < len(found) else None

    def cmd_lrange(self, key: bytes, start: bytes, stop: bytes) -> list[bytes]:
        bounds = _integer(start), _integer(stop)
        found = self._get(key, deque)
        indexes = _indexes(len(found), *bounds)
        if indexes.start <= len(found) - indexes.stop:
            return list(islice(found, indexes.start, indexes.stop))
        from_end = list(islice(reversed(found), len(found) - indexes.stop, len(found) - indexes.start))
        return from_end[::-1]

    def cmd_lpos(self, key: bytes, value: bytes) -> int | None:
        try:
            return self._get(key, deque).index(value)
        except ValueError:
            return None

    def cmd_lrem(self, key: bytes, count: bytes, value: bytes) -> int:
        if count != b"1":
            raise _unknown(count)
        found = self._get(key, deque)
        try:
            found.remove(value)
        except ValueError:
            return 0
        self._tidy(key, found)
        return 1

    # --- sets

    def cmd_sadd(self, key: bytes, *members: bytes) -> int:
        found = self._make(key, set)
        before = len(found)
        found.update(members)
        return len(found) - before

    def cmd_srem(self, key: bytes, *members: bytes) -> int:
        found = self._get(key, set)
        before = len(found)
        found.difference_update(members)
        self._tidy(key, found)
        return before - len(found)

    def cmd_sismember(self, key: bytes, member: bytes) -> int:
        return int(member in self._get(key, set))

    def cmd_smembers(self, key: bytes) -> list[bytes]:
        return list(self._get(key, set))

    # --- sorted sets

    def cmd_zadd(self, key: bytes, *arguments: bytes) -> int:
        """Returns how many are new."""
        flags = set()
        while arguments and arguments[0].upper() in (b"NX", b"XX", b"LT"):
            flags.add(arguments[0].upper())
            arguments = arguments[1:]
        if not arguments or len(arguments) % 2:
            raise ResponseError("syntax error")
        scores = [_score(score) for score in arguments[::2]]
        found = self._get(key, SortedSet)
        before = len(found)
        for score, member in zip(scores, arguments[1::2], strict=True):
            old = found.scores.get(member)
            if (b"XX" in flags) if old is None else (b"NX" in flags or (b"LT" in flags and score >= old)):
                continue
            found.put(member, score)
        if found:
            self._values[key] = found
        return len(found) - before

    def cmd_zrem(self, key: bytes, *members: bytes) -> int:
        found = self._get(key, SortedSet)
        count = sum(found.drop(member) for member in members)
        self._tidy(key, found)
        return count

    def cmd_zscore(self, key: bytes, member: bytes) -> bytes | None:
        score = self._get(key, SortedSet).scores.get(member)
        return None if score is None else _shown(score)

    def cmd_zcard(self, key: bytes) -> int:
        return len(self._get(key, SortedSet))

    def cmd_zcount(self, key: bytes, low: bytes, high: bytes) -> int:
        bounds = _bound(low), _bound(high)
        return len(self._get(key, SortedSet).between(*bounds))

    def cmd_zrange(self, key: bytes, start: bytes, stop: bytes, *options: bytes) -> list[bytes]:
        if options not in ((), (b"WITHSCORES",)):
            raise _unknown(*options)
        bounds = _integer(start), _integer(stop)
        found = self._get(key, SortedSet)
        indexes = _indexes(len(found), *bounds)
        return _members(found.order.islice(indexes.start, indexes.stop), bool(options))

    def cmd_zrevrange(self, key: bytes, start: bytes, stop: bytes) -> list[bytes]:
        bounds = _integer(start), _integer(stop)
        found = self._get(key, SortedSet)
        indexes, length = _indexes(len(found), *bounds), len(found)
        return _members(found.order.islice(length - indexes.stop, length - indexes.start, reverse=True))

    def cmd_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> list[bytes]:
        if limit and (limit[0].upper(), limit[1]) != (b"LIMIT", b"0"):
            raise _unknown(*limit)
        bounds = _bound(low), _bound(high)
        found = self._get(key, SortedSet)
        indexes = found.between(*bounds)
        if limit:
            indexes = indexes[: _integer(limit[2])]
        return _members(found.order.islice(indexes.start, indexes.stop))

    def cmd_zpopmin(self, key: bytes, count: bytes = b"1") -> list[bytes]:
        most = _integer(count)
        found = self._get(key, SortedSet)
        first = list(found.order.islice(0, most))
        for _, member in first:
            found.drop(member)
        self._tidy(key, found)
        return _members(first, True)

    # --- streams

    def cmd_xadd(self, key: bytes, *words: bytes) -> bytes:
        limit, (name, *fields) = _trim(words)
        if not fields or len(fields) % 2:
            raise ResponseError("wrong number of arguments for 'xadd' command")
        given = None if name == b"*" else _id(name, 0)
        found = self._find(key, Stream) or Stream()
        now = self.now // 1000
        new = given or ((now, 0) if now > found.last[0] else (found.last[0], found.last[1] + 1))
        if new <= found.last:
            raise ResponseError("The ID specified in XADD is equal or smaller than the target stream top item")
        found.last = new
        found.entries.append((new, fields))
        self._values[key] = found
        if limit:
            found.trim(limit)
        self._added(key)
        return b"%d-%d" % new

    def cmd_xlen(self, key: bytes) -> int:
        return len(self._get(key, Stream).entries)

    def cmd_xrange(self, key: bytes, start: bytes, end: bytes, *options: bytes) -> list[Any]:
        bounds, most = (_first(start), _end(end)), _count(options)
        return _entries(self._get(key, Stream).between(*bounds)[:most])

    def cmd_xrevrange(self, key: bytes, end: bytes, start: bytes, *options: bytes) -> list[Any]:
        bounds, most = (_first(start), _end(end)), _count(options)
        return _entries(self._get(key, Stream).between(*bounds)[::-1][:most])

    def cmd_xread(self, *arguments: bytes) -> list[Any] | None:
        """Of one stream; whoever calls does the waiting that BLOCK asks for."""
        *options, key, after = arguments
        if not options or options.pop().upper() != b"STREAMS":
            raise _unknown(*arguments)
        _options(options, b"BLOCK")
        found = self._get(key, Stream)
        entries = _entries(found.between(_end(after, 0), _end(b"+")))
        return [[key, entries]] if entries else None

    def cmd_xtrim(self, key: bytes, *words: bytes) -> int:
        limit, rest = _trim(words)
        if limit is None or rest:
            raise _unknown(*words)
        return self._get(key, Stream).trim(limit)


_TYPES = {
    type(None): b"none",
    bytes: b"string",
    dict: b"hash",
    deque: b"list",
    set: b"set",
    SortedSet: b"zset",
    Stream: b"stream",
}


def _unknown(*options: bytes) -> ResponseError:
    shown = b" ".join(options).decode(errors="replace")
    return ResponseError(f"syntax error: {shown!r} is not part of memory://")


def _options(words: Sequence[bytes], *named: bytes, flags: Sequence[bytes] = ()) -> dict[bytes, bytes]:
    """Options with a value each, and `flags` without."""
    found: dict[bytes, bytes] = {}
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name in flags:
            found[name] = b""
        elif name in named:
            found[name] = next(rest, b"")
        else:
            raise _unknown(*words)
    return found


def _count(options: Sequence[bytes]) -> int | None:
    """None: any number."""
    count = _options(options, b"COUNT").get(b"COUNT")
    if count is not None and _integer(count) < 1:
        raise _unknown(*options)
    return None if count is None else _integer(count)


def _integer(word: bytes, why: str = "value is not an integer or out of range") -> int:
    if not _INTEGER(word) or not -(2**63) <= int(word) < 2**63:
        raise ResponseError(why)
    return int(word)


def _score(word: bytes) -> float:
    if not _NUMBER(word):
        raise ResponseError("value is not a valid float")
    return float(word)


def _bound(word: bytes) -> tuple[float, bool]:
    """A score, and whether `(` excludes it."""
    return (_score(word[1:]), True) if word[:1] == b"(" else (_score(word), False)


def _shown(score: float) -> bytes:
    if score.is_integer() and abs(score) < 2**53:
        return b"%d" % score
    return repr(score).encode()


def _indexes(length: int, first: int, last: int) -> range:
    """From `first` to `last`, both included; negative ones count from the end."""
    first = max(0, first + length if first < 0 else first)
    last = min(length - 1, last + length if last < 0 else last)
    return range(min(first, length), max(min(first, length), last + 1))


def _members(found: Iterable[tuple[float, bytes]], scores: bool = False) -> list[bytes]:
    if scores:
        return [part for score, member in found for part in (member, _shown(score))]
    return [member for _, member in found]


def _entries(found: Iterable[tuple[tuple[int, int], list[bytes]]]) -> list[Any]:
    return [[b"%d-%d" % name, list(fields)] for name, fields in found]


def _is_id(word: bytes) -> bool:
    return re.fullmatch(rb"\d+(-\d+)?", word) is not None


def _trim(words: Sequence[bytes]) -> tuple[_Trim | None, list[bytes]]:
    """`MAXLEN [=|~] N` or `MINID [=] ID` in front, and the rest."""
    kind, *rest = words
    if kind.upper() not in (b"MAXLEN", b"MINID"):
        return None, [kind, *rest]
    slack = _SLACK if rest[0] == b"~" else 0
    if rest[0] in (b"~", b"="):
        rest.pop(0)
    limit = rest.pop(0)
    if kind.upper() == b"MAXLEN":
        return _Trim(length=_integer(limit), slack=slack), rest
    if slack:
        raise _unknown(*words)
    return _Trim(first=_id(limit, 0)), rest


def _first(word: bytes) -> tuple[int, int]:
    """The first id from that one on; `(` before it excludes it."""
    if word == b"-":
        return (0, 0)
    return _end(word[1:], 0) if word[:1] == b"(" else _id(word, 0)


def _end(word: bytes, sequence: int = _LAST) -> tuple[int, int]:
    """The first id behind that one."""
    if word == b"+":
        return (_LAST, _LAST + 1)
    milliseconds, number = _id(word, sequence)
    return (milliseconds, number + 1)


def _id(word: bytes, sequence: int) -> tuple[int, int]:
    """An entry's id, with that sequence where it names none."""
    if not _is_id(word):
        raise ResponseError("Invalid stream ID specified as stream command argument")
    milliseconds, _, given = word.partition(b"-")
    return int(milliseconds), int(given) if given else sequence


def _glob(pattern: bytes) -> Callable[[bytes], Any]:
    r"""`*`, `?` and `\` before a character that means itself."""
    parts = re.findall(rb"\\.|.", pattern, re.DOTALL)
    if any(part in (b"[", b"]") for part in parts):
        raise _unknown(pattern)
    words = {b"*": b".*", b"?": b"."}
    regex = b"".join(words.get(part) or re.escape(part[-1:]) for part in parts)
    return re.compile(regex, re.DOTALL).fullmatch
