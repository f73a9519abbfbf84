"""Find the rule of one group of robots.txt that decides about a path (RFC 9309 §2.2.2), in bounded time.

Paths and patterns are normalised to one spelling and compared octet by octet. A pattern with stars is matched by
leftmost finds, which never backtrack. It is split at its stars only if the path has its beginning and its last part,
which is rare in a long file. For very many patterns and a very long path, a search in the path's sorted suffixes first
shows whether a part occurs in it. The rest of the work is bounded as well; beyond the bound the path is disallowed.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from crawler.parsing.url import normal_escapes

_QUICK: Final = 2_000_000  # patterns with stars × octets of the path; up to here plain finds take a few milliseconds
_ALLOW, _DISALLOW = "+", "-"
_MOST: Final = 12_000_000  # octets compared for one verdict, at most: about 35 ms


class RobotsRule(NamedTuple):
    """An Allow or Disallow line. The longest rule that matches decides; of two equally long, the one that allows."""

    length: int  # octets of its pattern
    allow: bool
    pattern: str  # normalised

    def __str__(self) -> str:
        return f"{'Allow' if self.allow else 'Disallow'}: {self.pattern}"


TOO_COSTLY: Final = RobotsRule(0, False, "(too many patterns with stars to compare with so long a URL)")
"""The rule that decides beyond the bound. Only a hostile file reaches it."""


def rules_text(lines: Iterable[tuple[bool, str]]) -> str:
    """The rules of one group in the least memory: a line for each pattern, normalised, after a sign that tells whether
    it allows. `lines`: (whether it allows, pattern as written), with one character for each octet."""
    rules: dict[str, bool] = {}
    for allow, written in lines:
        if written.startswith(("/", "*")):  # others are empty or match no path
            pattern = _normal_pattern(written)
            rules[pattern] = allow or rules.get(pattern, False)
    return "\n".join((_ALLOW if allow else _DISALLOW) + pattern for pattern, allow in rules.items())


class RobotsRules:
    """The rules of one group, ready for many verdicts: ten times as large as their text."""

    __slots__ = ("_lengths", "_plain", "_wild")

    def __init__(self, text: str) -> None:
        """`text`: the rules as `rules_text` writes them."""
        rules = {line[1:]: line[0] == _ALLOW for line in text.splitlines()}
        wild = [pattern for pattern in rules if "*" in pattern or pattern[-1] == "$"]
        wild.sort(key=rules.__getitem__, reverse=True)  # of equal length, rules that allow come first
        wild.sort(key=len, reverse=True)
        self._wild = [(pattern, rules.pop(pattern), *_ends(pattern)) for pattern in wild]
        self._plain = rules
        self._lengths = sorted({len(pattern) for pattern in rules}, reverse=True)

    def decide(self, path: str) -> RobotsRule | None:
        """The rule that decides about the path and query of a canonical URL; None if no rule matches."""
        path = _normal(path)
        plain = self._longest_plain(path)
        wild = self._longest_wild(path, plain.length if plain else 0)
        if plain is None or wild is None or wild is TOO_COSTLY:
            return wild or plain
        return max(plain, wild)

    def _longest_plain(self, path: str) -> RobotsRule | None:
        for length in self._lengths:
            if length <= len(path) and (start := path[:length]) in self._plain:
                return RobotsRule(length, self._plain[start], start)
        return None

    def _longest_wild(self, path: str, least: int) -> RobotsRule | None:
        """The longest rule that matches: they are sorted by length. Rules shorter than `least` do not matter."""
        suffixes = _Suffixes(path) if len(self._wild) * len(path) > _QUICK else None
        contains = suffixes.contains if suffixes else path.__contains__
        looked_at = 0
        for pattern, allow, start, end in self._wild:
            if len(pattern) < least:
                break
            if not path.startswith(start) or not contains(end):  # excludes most patterns
                continue
            parts = _parts(pattern)
            if suffixes and not contains(max(parts[1:], key=len, default="")):
                continue
            looked_at += len(path)
            if looked_at > _MOST:
                return TOO_COSTLY
            if _matches(path, parts, to_the_end=pattern[-1] == "$"):
                return RobotsRule(len(pattern), allow, pattern)
        return None


def _ends(pattern: str) -> tuple[str, str]:
    """The parts of a pattern before its first and after its last ``*``, without the final ``$``."""
    start, _, rest = pattern.removesuffix("$").partition("*")
    return start, rest.rpartition("*")[2]


def _parts(pattern: str) -> list[str]:
    """The pattern, split at its stars, without the final ``$``."""
    body = pattern.removesuffix("$")
    return (re.sub(r"\*+", "*", body) if "**" in body else body).split("*")


def _matches(path: str, parts: list[str], *, to_the_end: bool) -> bool:
    """Whether a path that starts with the first part has the others in order.

    The leftmost match of each part suffices: if any choice of matches fits, this one does.
    """
    first, *middle = parts
    at, end = len(first), len(path)
    if to_the_end:
        last = middle.pop() if middle else ""
        end -= len(last)
        if not path.endswith(last) or (len(parts) == 1 and at != end):
            return False
    for part in middle:
        at = path.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return at <= end


class _Suffixes:
    """The sorted suffixes of a path: a binary search finds whether a text occurs anywhere in it."""

    _KEPT: Final = 256  # characters of each; of a longer text, only this many are searched for

    def __init__(self, path: str) -> None:
        self._sorted = sorted({path[at : at + self._KEPT] for at in range(len(path))})

    def contains(self, text: str) -> bool:
        text = text[: self._KEPT]
        at = bisect_left(self._sorted, text)
        return at < len(self._sorted) and self._sorted[at].startswith(text)


# ---------------------------------------------------------------------------------------------------------
# Spelling

_PLAIN = re.compile(r"[A-Za-z0-9/._~=&?-]*").fullmatch
_PLAIN_PATTERN = re.compile(r"[A-Za-z0-9/._~=&?*-]*\$?").fullmatch
_KEPT: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%:?#[]@!&()+,;=")
# "*" and "$" in a path become %2A and %24 (§2.2.3); in a pattern, those with a meaning stay
_ENCODED: Final = tuple(chr(octet) if octet in _KEPT else f"%{octet:02X}" for octet in range(256))
_ENCODED_PATTERN: Final = (*_ENCODED[:0x2A], "*", *_ENCODED[0x2B:])
_LITERAL_IN_QUERY: Final = {"%3A": ":", "%2F": "/"}  # equal to their encoded forms, as in the table of §2.2.2


def _normal(path: str) -> str:
    return path if _PLAIN(path) else _without_needless_escapes(path).translate(_ENCODED)


def _normal_pattern(pattern: str) -> str:
    """Normalise a pattern like a path, but keep its stars and its final "$"."""
    if _PLAIN_PATTERN(pattern):
        return pattern
    body = pattern.removesuffix("$")
    return _without_needless_escapes(body).translate(_ENCODED_PATTERN) + "$" * (body != pattern)


def _without_needless_escapes(text: str) -> str:
    if "%" not in text:
        return text
    path, mark, query = normal_escapes(text).partition("?")
    if "%" in query:
        query = re.sub("%3A|%2F", lambda escape: _LITERAL_IN_QUERY[escape[0]], query)
    return path + mark + query
