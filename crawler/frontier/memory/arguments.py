"""Reads the arguments of commands, and shapes their replies. Raises `ResponseError` as a server does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from crawler.frontier.memory.values import LAST_SEQUENCE, Trim

_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE).fullmatch
_INTEGER = re.compile(rb"0|-?[1-9]\d{0,18}").fullmatch
SLACK = 100  # entries by which a stream may exceed an approximate length


def unknown(*options: bytes) -> ResponseError:
    shown = b" ".join(options).decode(errors="replace")
    return ResponseError(f"syntax error: {shown!r} is not part of memory://")


def needed(words: Sequence[bytes], command: str, each: int = 1) -> None:
    """Raise the error of a command that takes one or several groups of `each` words, unless these are such."""
    if not words or len(words) % each:
        raise ResponseError(f"wrong number of arguments for '{command}' command")


def options_of(words: Sequence[bytes], *named: bytes, flags: Sequence[bytes] = ()) -> dict[bytes, bytes]:
    """Read options that have a value each, and `flags` that have none."""
    found: dict[bytes, bytes] = {}
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name in flags:
            found[name] = b""
        elif name in named:
            found[name] = next(rest, b"")
        else:
            raise unknown(*words)
    return found


def count_of(options: Sequence[bytes]) -> int | None:
    """The COUNT option; None if there is no limit."""
    count = options_of(options, b"COUNT").get(b"COUNT")
    if count is not None and integer(count) < 1:
        raise unknown(*options)
    return None if count is None else integer(count)


def integer(word: bytes, why: str = "value is not an integer or out of range") -> int:
    if not _INTEGER(word) or not -(2**63) <= int(word) < 2**63:
        raise ResponseError(why)
    return int(word)


def score_of(word: bytes) -> float:
    if not _NUMBER(word):
        raise ResponseError("value is not a valid float")
    return float(word)


def bound_of(word: bytes) -> tuple[float, bool]:
    """A score, and whether `(` excludes it."""
    return (score_of(word[1:]), True) if word[:1] == b"(" else (score_of(word), False)


def shown_score(score: float) -> bytes:
    if score.is_integer() and abs(score) < 2**53:
        return b"%d" % score
    return repr(score).encode()


def indexes_of(length: int, first: int, last: int) -> range:
    """The indexes from `first` to `last`, both included; negative ones count from the end."""
    first = max(0, first + length if first < 0 else first)
    last = min(length - 1, last + length if last < 0 else last)
    return range(min(first, length), max(min(first, length), last + 1))


def members_of(found: Iterable[tuple[float, bytes]], scores: bool = False) -> list[bytes]:
    if scores:
        return [part for score, member in found for part in (member, shown_score(score))]
    return [member for _, member in found]


def entries_of(found: Iterable[tuple[tuple[int, int], list[bytes]]]) -> list[Any]:
    return [[b"%d-%d" % name, list(fields)] for name, fields in found]


def is_id(word: bytes) -> bool:
    return re.fullmatch(rb"\d+(-\d+)?", word) is not None


def trim_of(words: Sequence[bytes]) -> tuple[Trim | None, list[bytes]]:
    """Read `MAXLEN [=|~] N` or `MINID [=] ID` at the front, and return it with the rest."""
    kind, *rest = words
    if kind.upper() not in (b"MAXLEN", b"MINID"):
        return None, [kind, *rest]
    slack = SLACK if rest[0] == b"~" else 0
    if rest[0] in (b"~", b"="):
        rest.pop(0)
    limit = rest.pop(0)
    if kind.upper() == b"MAXLEN":
        return Trim(length=integer(limit), slack=slack), rest
    if slack:
        raise unknown(*words)
    return Trim(first=entry_id(limit, 0)), rest


def first_id(word: bytes) -> tuple[int, int]:
    """The first id of a range that starts at `word`; `(` excludes the id itself."""
    if word == b"-":
        return (0, 0)
    return end_id(word[1:], 0) if word[:1] == b"(" else entry_id(word, 0)


def end_id(word: bytes, sequence: int = LAST_SEQUENCE) -> tuple[int, int]:
    """The first id after that one."""
    if word == b"+":
        return (LAST_SEQUENCE, LAST_SEQUENCE + 1)
    milliseconds, number = entry_id(word, sequence)
    return (milliseconds, number + 1)


def entry_id(word: bytes, sequence: int) -> tuple[int, int]:
    """An entry's id; `sequence` is used where `word` has none."""
    if not is_id(word):
        raise ResponseError("Invalid stream ID specified as stream command argument")
    milliseconds, _, given = word.partition(b"-")
    return int(milliseconds), int(given) if given else sequence


def glob(pattern: bytes) -> Callable[[bytes], Any]:
    r"""Compile a glob pattern of `*`, `?` and `\` before a literal character."""
    parts = re.findall(rb"\\.|.", pattern, re.DOTALL)
    if any(part in (b"[", b"]") for part in parts):
        raise unknown(pattern)
    words = {b"*": b".*", b"?": b"."}
    regex = b"".join(words.get(part) or re.escape(part[-1:]) for part in parts)
    return re.compile(regex, re.DOTALL).fullmatch
