"""What people may order, how they write it, and what is said when they get it wrong."""

from __future__ import annotations

import pytest

from crawler.control.rules import described, key_of, number_of, parse, pauses_in, undone
from crawler.errors import UsageError
from crawler.model import Rule, RuleChange


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("rate a.example 10/m", Rule("rate", "host", "a.example", "10/m")),
        ("rate host:a.example 0.5/s", Rule("rate", "host", "a.example", "0.5/s")),
        ("rate host a.example 1/h", Rule("rate", "host", "a.example", "1/h")),
        ("rate https://A.example:8443/x?y 1/s", Rule("rate", "host", "a.example", "1/s")),
        ("rate bücher.example 1/s", Rule("rate", "host", "xn--bcher-kva.example", "1/s")),
        ("rate [::1]:8080 1/s", Rule("rate", "host", "[::1]", "1/s")),
        ("rate spider:shop 100/s", Rule("rate", "spider", "shop", "100/s")),
        ("rate job news off", Rule("rate", "job", "news", "")),
        ("concurrency a.example 4", Rule("concurrency", "host", "a.example", "4")),
        ("pause a.example", Rule("pause", "host", "a.example", "on")),
        ("pause job:news", Rule("pause", "job", "news", "on")),
        ("resume spider:shop", Rule("pause", "spider", "shop", "")),
        ("block spider shop", Rule("block", "spider", "shop", "on")),
        ("unblock a.example", Rule("block", "host", "a.example", "")),
        ("priority job:news 010", Rule("priority", "job", "news", "10")),
        ("priority a.example 0", Rule("priority", "host", "a.example", "")),
        ("log-level debug", Rule("log-level", "fleet", "", "DEBUG")),
        ("log-level off", Rule("log-level", "fleet", "", "")),
    ],
)
def test_words_become_a_rule_whose_words_say_the_same(words: str, rule: Rule) -> None:
    action, *rest = words.split()
    assert parse(action, rest) == rule
    action, *rest = described(rule).split()
    assert parse(action, rest) == rule


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rate a.example", "is not a rate"),
        ("rate 10/m", "name one host"),
        ("rate", "for example: crawler control rate a.example 10/m"),
        ("rate a.example b.example 1/s", "name one host"),
        ("rate a.example 10", "write 10/s, 30/m or 0.5/h"),
        ("rate a.example 10/d", "write 10/s"),
        ("rate a.example -1/s", "write 10/s"),
        ("rate a.example ١/s", "write 10/s"),
        ("rate a.example 0/m", "control pause"),
        ("rate a.example 0.0/m", "control pause"),
        ("rate a.example 1001/s", "out of bounds"),
        ("rate a.example 0.01/h", "out of bounds"),
        ("rate a..b^c 1/s", "is not a host"),
        ("rate spider: 1/s", "write spider:NAME"),
        ("concurrency spider:shop 4", "not for a spider"),
        ("concurrency a.example 0", "from 1 to 1000"),
        ("concurrency a.example many", "from 1 to 1000"),
        ("priority spider:shop 4", r"Request\(priority=…\)"),
        ("priority a.example 1001", "from 0 to 1000"),
        ("pause", "name one host, spider:NAME or job:NAME"),
        ("pause job:a\x1b", "names no job"),
        ("log-level loud", "DEBUG, INFO, WARNING, ERROR"),
        ("log-level a.example DEBUG", "applies to all workers"),
        ("log-level", "crawler control log-level DEBUG"),
    ],
)
def test_a_mistake_says_how_to_write_it(words: str, said: str) -> None:
    action, *rest = words.split(" ")
    with pytest.raises(UsageError, match=said):
        parse(action, rest)


def test_the_number_that_is_enforced_is_never_faster_and_shared_by_the_shards() -> None:
    assert number_of(Rule("rate", "host", "a.example", "7/m"), shards=4) == 8572
    assert number_of(Rule("rate", "job", "news", "10/s"), shards=4) == 400
    assert number_of(Rule("concurrency", "host", "a.example", "4")) == 4
    assert number_of(Rule("block", "host", "a.example", "on")) == 1


def test_rules_of_different_subjects_have_different_keys() -> None:
    rules = [
        Rule("pause", "host", "a.example"),
        Rule("pause", "spider", "a.example"),
        Rule("block", "host", "a.example"),
        Rule("pause", "host", "a.example", job="news"),
        Rule("log-level", "fleet"),
    ]
    assert len({key_of(rule) for rule in rules}) == len(rules)


# --- taking back


def changes(*steps: tuple[str, str, str, str]) -> list[RuleChange]:
    """(number, value, before, undoes) of the rate of a host, oldest first → as the log has them."""
    rule = Rule("rate", "host", "a.example")
    made = [RuleChange(Rule(rule.action, rule.what, rule.name, v, id=n), b, u) for n, v, b, u in steps]
    return made[::-1]


def test_what_was_in_force_before_is_again() -> None:
    log = changes(("1", "10/m", "", ""), ("2", "20/m", "10/m", ""))
    rule, number = undone(log)
    assert (rule.value, number) == ("10/m", "2")
    rule, number = undone(log, "1")
    assert (rule.value, number) == ("", "1")


def test_taking_back_again_goes_further_back() -> None:
    log = changes(("1", "10/m", "", ""), ("2", "20/m", "10/m", ""), ("3", "10/m", "20/m", "2"))
    rule, number = undone(log)
    assert (rule.value, number) == ("", "1")


def test_a_taking_back_can_be_taken_back_by_its_number() -> None:
    rule, number = undone(changes(("1", "10/m", "", ""), ("2", "", "10/m", "1")), "2")
    assert (rule.value, number) == ("10/m", "2")


@pytest.mark.parametrize(("number", "said"), [("", "no change to take back"), ("9", "control log")])
def test_nothing_to_take_back(number: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        undone(changes(("1", "10/m", "", ""), ("2", "", "10/m", "1")), number)


def test_the_pauses_that_hold_in_a_job() -> None:
    rules = [
        Rule("pause", "host", "a.example", "on", by="me@here", at=1.0),
        Rule("pause", "host", "b.example", "on", job="news", by="me@here"),
        Rule("pause", "job", "news", "on", why="till Monday", by="me@here"),
        Rule("block", "host", "c.example", "on"),
    ]
    assert [(pause.name, pause.why) for pause in pauses_in(rules, "news")] == [
        ("a.example", "ordered (by me@here)"),
        ("b.example", "ordered (by me@here)"),
        ("news", "till Monday (by me@here)"),
    ]
    assert [pause.name for pause in pauses_in(rules, "other")] == ["a.example"]
