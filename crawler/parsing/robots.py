"""robots.txt to verdicts, exactly as RFC 9309 reads it: which group applies, which rule wins.

What to do when robots.txt cannot be had (status, time-out) is decided elsewhere; `ALLOW_ALL` and
`DISALLOW_ALL` stand for the outcomes. The matcher is our own: the usual parsers compare agents by prefix
or anywhere in the name, read ``$`` twice, let ``index.html`` stand for its folder, and decode ``%2F``.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote

from crawler.parsing.url import normal_escapes

MAX_BYTES = 500 * 1024
"""How much of a robots.txt is read (RFC 9309 §2.5), cut at the end of a line."""


class Robots:
    """The rules of one robots.txt. Immutable."""

    def __init__(self, groups: dict[str, "_Group"], sitemaps: Iterable[str]) -> None:
        self._groups = groups
        self.sitemaps: tuple[str, ...] = tuple(dict.fromkeys(sitemaps))
        """Values of Sitemap lines as written, each once; to be joined to the URL of the robots.txt."""

    @classmethod
    def parse(cls, body: bytes) -> "Robots":
        """The rules in `body`. Never raises: a line that is none is left out (RFC 9309 §2.2)."""
        reader = _Reader()
        for name, value in _lines(body):
            reader.read(name, value)
        return cls(reader.groups, reader.sitemaps)

    def allowed(self, url: str, agent: str) -> bool:
        """Whether `agent`, a product token or a User-Agent that begins with it, may fetch a canonical URL."""
        path = _path_of(url)
        if path.partition("?")[0] == "/robots.txt":  # always allowed (§2.2.2)
            return True
        group = self._group(agent)
        return group is None or group.rules.allow(_normal(path))

    def crawl_delay(self, agent: str) -> float | None:
        """Seconds between requests that the group of `agent` asks for (not in the RFC): finite, >= 0."""
        group = self._group(agent)
        return None if group is None else group.crawl_delay

    def _group(self, agent: str) -> "_Group | None":
        return self._groups.get(_token(agent)) or self._groups.get("*")


# ---------------------------------------------------------------------------------------------------------
# Lines

_NAMES: Final = {
    "user-agent": "user-agent",
    "useragent": "user-agent",
    "user agent": "user-agent",
    "allow": "allow",
    "disallow": "disallow",
    # Misspellings that are common enough that big crawlers honour them.
    "dissallow": "disallow",
    "dissalow": "disallow",
    "disalow": "disallow",
    "diasllow": "disallow",
    "disallaw": "disallow",
    "crawl-delay": "crawl-delay",
    "crawl delay": "crawl-delay",
    "crawldelay": "crawl-delay",
    "sitemap": "sitemap",
    "site-map": "sitemap",
}


def _lines(body: bytes) -> Iterator[tuple[str, str]]:
    """Name and value of each known line."""
    # Bytes that are not UTF-8 stay as they are: percent-encoded they match the URLs of old servers.
    text = _head(body.removeprefix(b"\xef\xbb\xbf")).decode("utf-8", "surrogateescape")
    for line in re.split("[\r\n]", text):
        name, colon, value = line.partition("#")[0].partition(":")
        if not colon:  # the colon forgotten: two words are still understood
            name, _, value = name.strip().partition(" ")
        known = _NAMES.get(name.strip().lower())
        if known:
            yield known, value.strip()


def _head(body: bytes) -> bytes:
    if len(body) <= MAX_BYTES:
        return body
    end = max(body.rfind(b"\n", 0, MAX_BYTES), body.rfind(b"\r", 0, MAX_BYTES))
    return body[: end + 1]


def _token(agent: str) -> str:
    """The product token (§2.2.1) at the start of a User-Agent, in lower case; "*" stays."""
    agent = agent.strip()
    if agent.startswith("*"):
        return "*"
    found = re.match(r"[A-Za-z0-9_.-]+", agent)
    return found[0].lower() if found else ""


# ---------------------------------------------------------------------------------------------------------
# Groups


class _Group:
    """All that is said to one agent, merged from everywhere in the file (§2.2.1)."""

    __slots__ = ("crawl_delay", "rules")

    def __init__(self) -> None:
        self.rules = _Rules()
        self.crawl_delay: float | None = None


class _Reader:
    """Reads lines in order. A group begins with one or more User-agent lines and ends before the next one
    that follows a rule; Sitemap and Crawl-delay lines neither begin nor end a group (§2.2.4)."""

    def __init__(self) -> None:
        self.groups: dict[str, _Group] = {}
        self.sitemaps: list[str] = []
        self._current: list[_Group] = []
        self._has_rule = False

    def read(self, name: str, value: str) -> None:
        if name == "sitemap":
            self.sitemaps += [value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")] * bool(value)
        elif name == "user-agent":
            self._begin(value)
        elif name == "crawl-delay":
            self._delay(value)
        else:
            self._has_rule = True
            self._rule(name, value)

    def _begin(self, agent: str) -> None:
        if self._has_rule:
            self._current, self._has_rule = [], False
        token = _token(agent)
        if token:
            self._current.append(self.groups.setdefault(token, _Group()))

    def _rule(self, name: str, pattern: str) -> None:
        if not pattern.startswith(("/", "*")):  # an empty rule, or one that no path can match
            return
        normal = _normal_pattern(pattern)
        for group in self._current:
            group.rules.add(normal, allow=name == "allow")

    def _delay(self, value: str) -> None:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", value):
            return
        for group in self._current:
            group.crawl_delay = max(float(value), group.crawl_delay or 0.0)


# ---------------------------------------------------------------------------------------------------------
# Rules


class _Wildcard(NamedTuple):
    """A pattern with ``*`` or a final ``$``, cut at its stars."""

    length: int
    allow: bool
    parts: list[str]
    to_the_end: bool

    def matches(self, path: str) -> bool:
        """Leftmost places for the parts suffice: where any places do, these do. No backtracking."""
        first, *middle = self.parts
        if not path.startswith(first):
            return False
        at = len(first)
        if self.to_the_end:
            last = middle.pop() if middle else ""
            end = len(path) - len(last)
            if not path.endswith(last) or (len(self.parts) == 1 and at != end):
                return False
        else:
            end = len(path)
        for part in middle:
            at = path.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return at <= end


class _Rules:
    """Rules of one group: the longest pattern that matches wins, Allow where two are equal (§2.2.2)."""

    __slots__ = ("_lengths", "_plain", "_wild")

    def __init__(self) -> None:
        self._plain: dict[str, bool] = {}
        self._wild: dict[str, bool] = {}
        self._lengths: tuple[list[int], list[_Wildcard]] | None = None

    def add(self, pattern: str, *, allow: bool) -> None:
        rules = self._wild if "*" in pattern or pattern[-1] == "$" else self._plain
        rules[pattern] = allow or rules.get(pattern, False)
        self._lengths = None

    def allow(self, path: str) -> bool:
        """The verdict on a normalised path; allowed when no rule matches."""
        lengths, wildcards = self._lengths or self._sorted()
        length, verdict = 0, True
        for candidate in lengths:
            if candidate <= len(path) and path[:candidate] in self._plain:
                length, verdict = candidate, self._plain[path[:candidate]]
                break
        for wildcard in wildcards:
            if wildcard.length < length:
                break
            if wildcard.matches(path):
                return wildcard.allow or (wildcard.length == length and verdict)
        return verdict

    def _sorted(self) -> tuple[list[int], list[_Wildcard]]:
        """Lengths of plain patterns and all wildcards, longest first; made when first asked."""
        wildcards = [_wildcard(pattern, allow) for pattern, allow in self._wild.items()]
        wildcards.sort(key=lambda rule: (rule.length, rule.allow), reverse=True)
        self._lengths = sorted({len(pattern) for pattern in self._plain}, reverse=True), wildcards
        return self._lengths


def _wildcard(pattern: str, allow: bool) -> _Wildcard:
    body = pattern.removesuffix("$")
    parts = re.split(r"\*+", body)
    return _Wildcard(len(pattern), allow, parts, body != pattern)


# ---------------------------------------------------------------------------------------------------------
# Spelling: paths and patterns are compared octet by octet after the same normalisation (§2.2.2)

_PLAIN = re.compile(r"[A-Za-z0-9/._~=&?-]*").fullmatch
_KEPT: Final = "/%:?#[]@!&()+,;="  # as they are; "*" and "$" of a path become %2A and %24 (§2.2.3)
_LITERAL_IN_QUERY: Final = {"%3A": ":", "%2F": "/"}  # encoded or not, as in the table of §2.2.2


def _path_of(url: str) -> str:
    return url[url.index("/", 8) :].partition("#")[0]


def _normal(text: str, kept: str = _KEPT) -> str:
    if _PLAIN(text):
        return text
    text = normal_escapes(quote(text, safe=kept, errors="surrogateescape"))
    path, mark, query = text.partition("?")
    if mark and "%" in query:
        query = re.sub("%3A|%2F", lambda escape: _LITERAL_IN_QUERY[escape[0]], query)
    return path + mark + query


def _normal_pattern(pattern: str) -> str:
    """A pattern in the spelling of paths, with its stars and its final "$" kept."""
    body = pattern.removesuffix("$")
    return _normal(body, _KEPT + "*") + "$" * (body != pattern)


ALLOW_ALL: Final = Robots.parse(b"")
"""No rules: what a missing robots.txt means."""

DISALLOW_ALL: Final = Robots.parse(b"User-agent: *\nDisallow: /")
"""Nothing may be fetched: what an unreachable robots.txt means."""
