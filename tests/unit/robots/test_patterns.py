"""No robots.txt can make a verdict slow, and the quick ways give the same verdicts as the plain one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.parsing.robots_lines import MAX_BYTES
from crawler.robots import patterns as robots_rules
from crawler.robots.file import Robots
from crawler.robots.patterns import TOO_COSTLY, RobotsRule, RobotsRules, rules_text

PATH = "/" + "a" * 8_000
EVERYBODY = "User-agent: *\n"


def repeated(line: Callable[[int], str], count: int) -> bytes:
    """A robots.txt of that many lines for everybody."""
    return (EVERYBODY + "".join(f"{line(number)}\n" for number in range(count))).encode()


def many_agents(count: int, line: Callable[[int], str]) -> bytes:
    """As many agents in one run as rules below it."""
    return b"".join(b"User-agent: a%d\n" % number for number in range(count)) + repeated(line, count)


HOSTILE: dict[str, tuple[bytes, str, bool]] = {
    "25,000 rules with stars": (repeated(lambda n: f"Disallow: /*x{n}", 25_000), "/a/x7/b.php", False),
    "25,000 rules with an end": (repeated(lambda n: f"Disallow: /{n}$", 25_000), "/24999", False),
    "10,000 plain rules": (repeated(lambda n: f"Disallow: /p{n}/x", 10_000), "/p9999/x", False),
    "10,000 rules with stars": (repeated(lambda n: f"Disallow: /*x{n}*.php$", 10_000), "/a/x7/b.php", False),
    "the same, long path": (repeated(lambda n: f"Disallow: /*x{n}*.php$", 10_000), PATH, True),
    "10,000 times three stars": (repeated(lambda n: f"Disallow: /*a*a*a*b{n}", 10_000), PATH, True),
    "10,000 near misses": (repeated(lambda n: f"Disallow: /*{'a' * 20}{n}", 10_000), PATH, True),
    "the same, a common end": (repeated(lambda n: f"Disallow: /*{'a' * 20}{n}*a", 10_000), PATH, True),
    "1,200 times 200 stars": (repeated(lambda n: f"Disallow: /{'*a' * 200}*b{n}", 1_200), PATH, True),
    "240 long near misses": (repeated(lambda n: f"Disallow: /*{'a' * 2_000}{n}", 240), PATH, True),
    "250,000 stars": ((EVERYBODY + f"Disallow: /{'*a' * 250_000}*b").encode(), PATH, True),
    "4,000 stars that match": ((EVERYBODY + f"Disallow: /{'*a' * 4_000}$").encode(), PATH, False),
    "500,000 stars in a row": ((EVERYBODY + f"Disallow: /{'*' * 500_000}a").encode(), PATH, False),
    "990 lengths": (repeated(lambda n: f"Disallow: /b{'a' * n}", 990), PATH, True),
    "10,000 rules to decode": (repeated(lambda n: f"Disallow: /%e3%83%84/{n}?x=%2f", 10_000), PATH, True),
    "160,000 escapes": ((EVERYBODY + f"Disallow: /{'%41' * 160_000}").encode(), PATH, True),
    "10,000 rules to encode": (repeated(lambda n: f"Disallow: /ツツツ/{n}", 10_000), PATH, True),
    "10,000 agents and rules": (many_agents(10_000, lambda n: f"Disallow: /{n}"), "/7", False),
    "500 KiB of line ends": (b"\r\n" * (MAX_BYTES // 2), "/", True),
    "what a look at the suffixes cannot tell": (
        repeated(lambda n: f"Disallow: /*{'a' * (n % 60)}*b*{'a' * (n // 60)}", 3_600),
        PATH + "b",
        False,  # beyond the bound
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(name: str) -> None:
    """50 ms are promised for a verdict; the bounds here leave room for a loaded machine. Figures: `pytest -s`."""
    body, path, allowed = HOSTILE[name]
    began = time.process_time()
    robots = Robots.parse(body)
    robots.allowed("http://a.example/", "bot")
    read = time.process_time()
    verdict = robots.allowed(f"http://a.example{path}", "bot")
    decided = time.process_time()
    print(f"\n{name}: read in {1e3 * (read - began):.1f} ms, decided in {1e3 * (decided - read):.1f} ms")
    assert verdict is allowed
    assert read - began < 1.0
    assert decided - read < 0.25


def test_what_cannot_be_decided_within_the_bound_is_not_asked_for() -> None:
    lines = [(False, f"/*{'a' * (number % 60)}*b*{'a' * (number // 60)}ab") for number in range(3_600)]
    assert RobotsRules(rules_text(lines)).decide(f"{PATH}b") is TOO_COSTLY
    assert RobotsRules(rules_text(lines)).decide("/baab") == RobotsRule(8, False, "/**b*aab")


PATHS = st.text("ab/?", max_size=12).map("/{}".format)
PATTERNS = st.text("ab*$/?", max_size=6).map("/{}".format)


@pytest.mark.parametrize("quick", [0, 10**9], ids=["by suffixes", "plainly"])
@given(lines=st.lists(st.tuples(st.booleans(), PATTERNS), max_size=8), path=PATHS)
@example(lines=[(False, "/a*"), (True, "/*a"), (False, "/*a$")], path="/a")
@example(lines=[(False, "/a*b"), (True, "/*ab")], path="/ab")
def test_all_ways_agree_with_a_regular_expression(quick: int, lines: list[tuple[bool, str]], path: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robots_rules, "_QUICK", quick)
        rule = RobotsRules(rules_text(lines)).decide(path)
    matching = [(len(_spelled(pattern)), allow) for allow, pattern in lines if _expression(pattern).match(path)]
    assert (rule and (rule.length, rule.allow)) == max(matching, default=None)


def _spelled(pattern: str) -> str:
    return pattern[:-1].replace("$", "%24") + pattern[-1]


def _expression(pattern: str) -> re.Pattern[str]:
    body = pattern.removesuffix("$")
    return re.compile(".*".join(map(re.escape, body.split("*"))) + r"\Z" * (body != pattern))
