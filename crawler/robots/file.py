"""Parse robots.txt and decide by it, exactly as RFC 9309 specifies: lines, groups, and the group that applies.

`answer.py` decides what an error status or a time-out means; `ALLOW_ALL` and `DISALLOW_ALL` stand for its
outcomes. This parser is our own: the common ones compare agents by prefix or substring, interpret ``$`` twice,
treat ``index.html`` as its folder, and decode ``%2F``.

Parsing takes time linear in the size of any file: agents and rules of a group are kept apart, and the rules of
a group are prepared when it is first used.
"""

import re
import sys
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from msgspec import Struct

from crawler.parsing.robots_lines import as_utf8, lines
from crawler.robots.patterns import RobotsRule, RobotsRules, rules_text


class AgentRules(Struct, frozen=True, gc=False):
    """What a robots.txt says to one agent."""

    rules: str = ""  # as `rules_text` writes them
    delay: float | None = None  # seconds between requests, finite, >= 0: see `Robots.crawl_delay`


class Robots:
    """The rules of one robots.txt. Immutable."""

    def __init__(self, groups: dict[str, list["_Block"]], sitemaps: Iterable[str]) -> None:
        self._blocks = groups
        self._groups: dict[str, _Group] = {}  # those used so far
        self.sitemaps: tuple[str, ...] = tuple(dict.fromkeys(sitemaps))
        """The values of the Sitemap lines as written, each once. They are relative to the URL of the robots.txt."""

    @classmethod
    def parse(cls, body: bytes) -> "Robots":
        """Parse the rules in `body`. Never raises: it ignores invalid lines (RFC 9309 §2.2)."""
        reader = _Reader()
        for name, value in lines(body):
            reader.read(name, value)
        return cls(reader.groups, reader.sitemaps)

    def allowed(self, url: str, agent: str) -> bool:
        """Whether `agent`, a product token or a User-Agent that begins with it, may fetch a canonical URL."""
        rule = self.rule(url, agent)
        return rule is None or rule.allow

    def rule(self, url: str, agent: str) -> RobotsRule | None:
        """The rule that decides about a canonical URL; None if no rule matches, and then the URL may be fetched."""
        group = self._group(agent)
        return None if group is None else decide(group.rules, url)

    def crawl_delay(self, agent: str) -> float | None:
        """Seconds between requests that the group of `agent` asks for (not in the RFC): finite, >= 0.

        It is the longest of the Crawl-delay lines (seconds) and the Request-rate lines (documents / seconds).
        """
        group = self._group(agent)
        return None if group is None else group.agent_rules.delay

    def rules_of(self, agent: str) -> AgentRules:
        """What the file says to `agent`."""
        group = self._group(agent)
        return _NOTHING if group is None else group.agent_rules

    def _group(self, agent: str) -> "_Group | None":
        token = _token(agent)
        name = token if token in self._blocks else "*"
        if name not in self._groups and name in self._blocks:
            self._groups[name] = _Group(self._blocks[name])
        return self._groups.get(name)


def decide(rules: RobotsRules, url: str) -> RobotsRule | None:
    """The one of the rules that decides about a canonical URL; None if none matches, and then it may be fetched."""
    path = url[url.index("/", 8) :].partition("#")[0]
    if path.partition("?")[0] == "/robots.txt":  # always allowed (§2.2.2)
        return None
    return rules.decide(path)


_NOTHING: Final = AgentRules()


def _token(agent: str) -> str:
    """The product token (§2.2.1) at the start of a User-Agent, in lower case; "*" stays; empty if there is none."""
    found = re.match(r"\s*([A-Za-z0-9_.-]+|\*(?!\S))", agent)
    return found[1].lower() if found else ""


# ---------------------------------------------------------------------------------------------------------
# Groups


class _Block:
    """The rules and delays after one run of User-agent lines."""

    __slots__ = ("delays", "rules")

    def __init__(self) -> None:
        self.rules: list[tuple[bool, str]] = []  # (whether it allows, pattern as written)
        self.delays: list[float] = []


class _Group:
    """All rules and delays for one agent, merged from the whole file (§2.2.1)."""

    def __init__(self, blocks: Iterable[_Block]) -> None:
        text = rules_text(rule for block in blocks for rule in block.rules)
        self.agent_rules = AgentRules(text, max((delay for block in blocks for delay in block.delays), default=None))

    @cached_property
    def rules(self) -> RobotsRules:
        return RobotsRules(self.agent_rules.rules)


class _Reader:
    """Reads lines in order. A group begins with one or more User-agent lines and ends before the next one
    that follows a rule; other lines neither begin nor end a group (§2.2.4)."""

    def __init__(self) -> None:
        self.groups: dict[str, list[_Block]] = {}
        self.sitemaps: list[str] = []
        self._block = _Block()  # rules before the first User-agent line apply to no agent

    def read(self, name: str, value: str) -> None:
        match name:
            case "user-agent":
                self._begin(value)
            case "allow" | "disallow":
                self._block.rules.append((name == "allow", value))
            case "crawl-delay":
                self._block.delays += _crawl_delay(value)
            case "request-rate":
                self._block.delays += _request_rate(value)
            case "sitemap":
                self.sitemaps.append(as_utf8(value))

    def _begin(self, agent: str) -> None:
        if self._block.rules:
            self._block = _Block()
        token = _token(agent)
        if token:
            blocks = self.groups.setdefault(token, [])
            if not blocks or blocks[-1] is not self._block:  # an agent may be named twice in a run
                blocks.append(self._block)


_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


_SECONDS: Final = re.compile(r"([0-9]++(\.[0-9]*+)?|\.[0-9]++)(e[+-]?[0-9]++)?", re.IGNORECASE).fullmatch
_RATE: Final = re.compile(r"([0-9]++) ?/ ?([0-9]++) ?([smh]?)(?![^ \t])").match
_MAX_LENGTH: Final = 100  # characters read of a number; further digits do not matter


def _crawl_delay(value: str) -> list[float]:
    """The seconds in `5`, `0.5` or `1e9`; an empty list for any other text."""
    value = value[:_MAX_LENGTH]
    return [_finite(float(value))] if _SECONDS(value) else []


def _request_rate(value: str) -> list[float]:
    """The seconds per document in `1/5`, `30/1m` or `100/24h`. Hours of the day after the rate are ignored."""
    found = _RATE(value.lower())
    if not found:
        return []
    documents, seconds = (_finite(float(number[:_MAX_LENGTH])) for number in found.groups()[:2])
    return [_finite(seconds * _UNITS[found[3]] / documents)] if documents else []


def _finite(number: float) -> float:
    return min(number, sys.float_info.max)


ALLOW_ALL: Final = Robots.parse(b"")
"""No rules: a missing robots.txt."""

DISALLOW_ALL: Final = Robots.parse(b"User-agent: *\nDisallow: /")
"""No page may be fetched: an unreachable robots.txt."""
