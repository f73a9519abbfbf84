"""Keys, when they expire, and the commands for keys and strings."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from crawler.frontier.memory.arguments import (
    glob,
    integer,
    needed,
    options_of,
)
from crawler.frontier.memory.values import OK, SortedSet, Status, Stream

T = TypeVar("T")
_TYPES = {
    type(None): b"none",
    bytes: b"string",
    dict: b"hash",
    deque: b"list",
    set: b"set",
    SortedSet: b"zset",
    Stream: b"stream",
}


class Keyspace:
    """Keys and their values. `clock`: seconds since the epoch that never run backwards; `added` is called with the key
    of a stream that has another entry.

    Not safe for threads. `commands` has each command by its name in capitals.
    """

    def __init__(self, clock: Callable[[], float], added: Callable[[bytes], None] = lambda key: None) -> None:
        self._clock = clock
        self._added = added
        self._values: dict[bytes, Any] = {}
        # When keys expire (ms); the key that was checked longest ago comes first.
        self._deadlines: OrderedDict[bytes, int] = OrderedDict()
        self.now = 0  # microseconds; stands still while a script runs
        self.tick()
        self.commands: dict[bytes, Callable[..., Any]] = {
            name[4:].upper().encode(): getattr(self, name) for name in dir(self) if name.startswith("cmd_")
        }

    def tick(self) -> None:
        """Set the time for the next command or script."""
        self.now = int(self._clock() * 1_000_000)

    def execute(self, name: bytes, *arguments: bytes) -> Any:
        """Run one command. Raises `ResponseError`."""
        command = self.commands.get(name) or self.commands.get(name.upper())
        if command is None:
            raise ResponseError(f"unknown command {name.decode(errors='replace')!r}: not part of memory://")
        return command(*arguments)

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
        """The value for reading; an empty one if the key does not exist."""
        found = self._find(key, kind)
        return kind() if found is None else found

    def _make(self, key: bytes, kind: type[T]) -> T:
        """The value for writing; creates it if the key does not exist."""
        found = self._find(key, kind)
        if found is None:
            found = self._values[key] = kind()
        return found

    def _remove(self, key: bytes) -> None:
        del self._values[key]
        self._deadlines.pop(key, None)

    def _tidy(self, key: bytes, value: Any) -> None:
        """Remove the key of an empty value."""
        if not value and key in self._values:
            self._remove(key)

    def _limit(self, key: bytes, milliseconds: int) -> None:
        """Set a time limit. Each new limit also checks one other key, so that keys which nobody reads expire."""
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
        needed(keys, "del")
        found = [key for key in dict.fromkeys(keys) if self._live(key) is not None]
        for key in found:
            self._remove(key)
        return len(found)

    cmd_unlink = cmd_del

    def cmd_scan(self, cursor: bytes, *options: bytes) -> list[Any]:
        """Return everything in one call."""
        given = options_of(options, b"MATCH", b"COUNT")
        matches = glob(given.get(b"MATCH", b"*"))
        return [b"0", [key for key in list(self._values) if matches(key) and self._live(key) is not None]]

    def cmd_pexpire(self, key: bytes, milliseconds: bytes) -> int:
        limit = integer(milliseconds)
        if self._live(key) is None:
            return 0
        if limit <= 0:
            self._remove(key)
        else:
            self._limit(key, limit)
        return 1

    def cmd_expire(self, key: bytes, seconds: bytes) -> int:
        return self.cmd_pexpire(key, b"%d" % (integer(seconds) * 1000))

    def cmd_pttl(self, key: bytes) -> int:
        if self._live(key) is None:
            return -2
        return self._deadlines[key] - self.now // 1000 if key in self._deadlines else -1

    # --- strings

    def cmd_get(self, key: bytes) -> bytes | None:
        return self._find(key, bytes)

    def cmd_mget(self, *keys: bytes) -> list[bytes | None]:
        needed(keys, "mget")
        found = [self._live(key) for key in keys]
        return [value if type(value) is bytes else None for value in found]

    def cmd_set(self, key: bytes, value: bytes, *options: bytes) -> Status | None:
        given = options_of(options, b"PX", flags=(b"NX",))
        if b"NX" in given and self._live(key) is not None:
            return None
        if b"PX" in given and integer(given[b"PX"]) <= 0:
            raise ResponseError("invalid expire time in 'set' command")
        self._deadlines.pop(key, None)
        self._values[key] = value
        if b"PX" in given:
            self._limit(key, integer(given[b"PX"]))
        return OK
