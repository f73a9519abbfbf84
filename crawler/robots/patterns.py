"""The rules of one group of robots.txt: which of them decides about a path (RFC 9309 §2.2.2), in bounded time.

Paths and patterns are compared octet by octet, after both were brought into one spelling. A pattern with stars is
matched by leftmost finds, which never backtrack, and cut up only when a path has its beginning and its end: in a long
file few are. When there are very many of them and the path is very long, a look into its sorted suffixes tells whether
a part stands in it; what is left to do after that is bounded as well, and beyond the bound the answer is no.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from crawler.parsing.url import normal_escapes

_QUICK: Final = 2_000_000  # patterns with stars × octets of the path: below that, plain finds take a few milliseconds
_MOST: Final = 12_000_000  # octets looked at for one verdict at most: about 35 ms


class RobotsRule(NamedTuple):
    """An Allow or Disallow line. Of those that match the longest decides, `allow` where two are equal."""

    length: int  # octets of its pattern
    allow: bool
    pattern: str  # in the spelling that is compared

    def __str__(self) -> str:
        return f"{'Allow' if self.allow else 'Disallow'}: {self.pattern}"


TOO_COSTLY: Final = RobotsRule(0, False, "(so many patterns with stars are not compared with so long a URL)")
"""What decides when the bound is reached. Only a file that was made for that gets there."""


class RobotsRules:
    """The rules of one group."""

    __slots__ = ("_lengths", "_plain", "_wild")

    def __init__(self, lines: Iterable[tuple[bool, str]]) -> None:
        """`lines`: whether it allows, and the pattern as written, a character standing for an octet."""
        rules: dict[str, bool] = {}
        for allow, written in lines:
            if written.startswith(("/", "*")):  # else an empty rule, or one that no path can match
                pattern = _normal_pattern(written)
                rules[pattern] = allow or rules.get(pattern, False)
        wild = [pattern for pattern in rules if "*" in pattern or pattern[-1] == "$"]
        wild.sort(key=rules.__getitem__, reverse=True)  # of equal length, those that allow come first
        wild.sort(key=len, reverse=True)
        self._wild = [(pattern, rules.pop(pattern), *_ends(pattern)) for pattern in wild]
        self._plain = rules
        self._lengths = sorted({len(pattern) for pattern in rules}, reverse=True)

    def decide(self, path: str) -> RobotsRule | None:
        """The rule that decides about the path, with its query, of a canonical URL; None: no rule matches."""
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
        """The first one that matches: they lie longest first. Those shorter than `least` do not matter."""
        suffixes = _Suffixes(path) if len(self._wild) * len(path) > _QUICK else None
        contains = suffixes.contains if suffixes else path.__contains__
        looked_at = 0
        for pattern, allow, start, end in self._wild:
            if len(pattern) < least:
                break
            if not path.startswith(start) or not contains(end):  # most are passed by here
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
    """What a path that matches a pattern with ``*`` or a final ``$`` starts with, and what it contains besides."""
    start, _, rest = pattern.removesuffix("$").partition("*")
    return start, rest.rpartition("*")[2]


def _parts(pattern: str) -> list[str]:
    """The pattern, cut at its stars."""
    body = pattern.removesuffix("$")
    return (re.sub(r"\*+", "*", body) if "**" in body else body).split("*")


def _matches(path: str, parts: list[str], *, to_the_end: bool) -> bool:
    """Whether a path that starts with the first of the parts has the others in their order.

    Leftmost places for the parts suffice: where any places do, these do.
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
    """The suffixes of a path in order: tells in a few comparisons whether a text stands anywhere in it."""

    _KEPT: Final = 256  # characters of each; a longer text is looked for with its first ones

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
# "*" and "$" of a path become %2A and %24 (§2.2.3), those of a pattern that mean something stay
_ENCODED: Final = tuple(chr(octet) if octet in _KEPT else f"%{octet:02X}" for octet in range(256))
_ENCODED_PATTERN: Final = (*_ENCODED[:0x2A], "*", *_ENCODED[0x2B:])
_LITERAL_IN_QUERY: Final = {"%3A": ":", "%2F": "/"}  # encoded or not, as in the table of §2.2.2


def _normal(path: str) -> str:
    return path if _PLAIN(path) else _without_needless_escapes(path).translate(_ENCODED)


def _normal_pattern(pattern: str) -> str:
    """A pattern in the spelling of paths, with its stars and its final "$" kept."""
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
