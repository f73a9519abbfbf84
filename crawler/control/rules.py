"""The rules that people may set while a crawl runs, and their syntax. Pure: words in, a `Rule` out.

    rate SUBJECT 10/m              for a host, a spider or a job; per s, m or h
    concurrency HOST 4             requests at once to a host
    pause|resume SUBJECT           for a host, a spider, a callback (callback:SPIDER.METHOD) or a job
    block|unblock SUBJECT          for a host, a spider or a job; pending requests end as skipped, `blocked`
    priority SUBJECT 10            for a host or a job: claimed before others; 0: no priority
    log-level DEBUG                for every worker process

SUBJECT is a host (`a.example`; a URL means its host), `spider:NAME`, `callback:SPIDER.METHOD` or `job:NAME`.
`host:NAME` is allowed too, and a space may replace the colon. The value `off` lifts the rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import get_args

from msgspec.structs import replace

from crawler.errors import UsageError
from crawler.model import Rule, RuleChange, with_spider
from crawler.parsing.rates import delay_of
from crawler.parsing.request_fields import MAX_PRIORITY
from crawler.parsing.url import BadUrl, canonical, host_of
from crawler.program import PROGRAM
from crawler.runtime.logs import Level
from crawler.status import Pause, Trace

ON = "on"  # the value of a pause or block
OFF = "off"
SUBJECTS = {  # action → the kinds of subject it may have
    "rate": ("host", "spider", "job"),
    "concurrency": ("host",),
    "pause": ("host", "spider", "callback", "job"),
    "block": ("host", "spider", "job"),
    "priority": ("host", "job"),
    "log-level": ("fleet",),
}
_NAMED = ("host", "spider", "callback", "job")
LIFTS = {"resume": "pause", "unblock": "block"}
MAX_CONCURRENCY = 1_000
LOG_KEPT = 10_000  # rule changes kept in the log: the last ones, and perhaps a few more
MAX_NAME = 300  # characters of a spider's or job's name


def parse(action: str, words: Sequence[str]) -> Rule:
    """Return the rule that the words after `control` set. Raise `UsageError` with an example of the syntax."""
    lifted = LIFTS.get(action, "")
    action = lifted or action
    words = list(words)
    if action in ("pause", "block"):
        value = "" if lifted else ON
    elif words:
        value = _value(action, words.pop())
    else:
        raise UsageError(f"nothing to set; for example: {_example(action)}")
    if action == "log-level":
        if words:
            raise UsageError(f"log-level applies to all workers; for example: {_example(action)}")
        return Rule(action, "fleet", "", value)
    what, name = _subject(action, words)
    if what not in SUBJECTS[action]:
        raise UsageError(_misplaced(action, what))
    return Rule(action, what, name, value)


def check_rule(rule: Rule) -> None:
    """Raise `UsageError` for a stored rule that `parse` cannot have made."""
    if rule.what not in SUBJECTS.get(rule.action, ()):
        raise UsageError(f"{rule.action!r} cannot be set for a {rule.what!r}")
    if rule.action not in ("pause", "block"):
        _value(rule.action, rule.value)


def key_of(rule: Rule) -> str:
    """Return the key of the rule: its action and subject. At most one rule is in force for each key."""
    return " ".join(word for word in (rule.action, rule.what, rule.name) if word) + (
        f" in {rule.job}" if rule.job else ""
    )


def number_of(rule: Rule, shards: int = 1) -> int:
    """Return the rule's value for the scripts: milliseconds between requests, a count, a priority; 1 means on.

    The pages of a spider or job lie in all shards, so each shard gets an equal part of the pace.
    """
    if rule.action == "rate" and rule.value:
        return math.ceil(delay_of(rule.value) * 1000 * (1 if rule.what == "host" else shards))
    return int(rule.value) if rule.value.isdigit() else 1


def undone(log: Iterable[RuleChange], number: str = "") -> tuple[Rule, str]:
    """Return the rule that undoes a change, and the number of that change.

    Without a number: the last change that is neither undone nor itself an undo. Raise `UsageError` if there is none.
    """
    log = list(log)
    taken_back = {change.undoes for change in log}
    for change in log:
        if change.rule.id == number or (not number and not change.undoes and change.rule.id not in taken_back):
            return replace(change.rule, value=change.before, why=f"takes back {change.rule.id}"), change.rule.id
    raise UsageError(
        f"no change has the number {number}; see: {PROGRAM} control log"
        if number
        else "there is no change to take back"
    )


def described(rule: Rule) -> str:
    """Return the words that set the rule."""
    action = rule.action
    if not rule.value:
        action = {lifted: word for word, lifted in LIFTS.items()}.get(action, action)
    value = rule.value or OFF
    words = [action, subject_of(rule), "" if rule.action in ("pause", "block") else value]
    return " ".join(word for word in words if word) + (f" --job {rule.job}" if rule.job else "")


def subject_of(rule: Rule) -> str:
    """Return the rule's subject as a person writes it; empty for the fleet."""
    return {"host": rule.name, "fleet": ""}.get(rule.what, f"{rule.what}:{rule.name}")


def pauses_in(rules: Iterable[Rule], job: str) -> tuple[Pause, ...]:
    """Return the pauses among the rules that apply to a job."""
    return tuple(
        Pause(rule.what, rule.name, _ordered(rule), rule.at, rule.job, rule.by)
        for rule in rules
        if rule.action == "pause" and rule.job in ("", job) and (rule.what != "job" or rule.name == job)
    )


def block_of(rules: Iterable[Rule], job: str) -> str:
    """Return why the whole job is blocked, and who ordered it; empty if it is not."""
    blocks = (rule for rule in rules if (rule.action, rule.what, rule.name) == ("block", "job", job))
    return next(map(_ordered, blocks), "")


def _ordered(rule: Rule) -> str:
    return f"{rule.why or 'ordered'} (by {rule.by})"


def trace_with(trace: Trace, rules: Iterable[Rule], job: str) -> Trace:
    """Return the trace with the pauses among the rules that apply to it."""
    requests = [one.request for one in trace.sightings]
    subjects = {("host", trace.host), ("job", job), *(("spider", one.spider) for one in requests)}
    subjects |= {("callback", with_spider(one.callback, one.spider)) for one in requests}
    ordered = tuple(pause for pause in pauses_in(rules, job) if (pause.what, pause.name) in subjects)
    return replace(trace, pauses=ordered + trace.pauses) if ordered else trace


def _value(action: str, text: str) -> str:
    if text == OFF:
        return ""
    if action == "rate":
        delay_of(text)
        return text
    if action == "log-level":
        if text.upper() not in get_args(Level):
            raise UsageError(f"{text!r} is not a log level: {', '.join(get_args(Level))}, or {OFF}")
        return text.upper()
    least, most = (1, MAX_CONCURRENCY) if action == "concurrency" else (0, MAX_PRIORITY)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise UsageError(f"{action} {text!r}: expected a number from {least} to {most}, or {OFF}")
    return "" if int(text) == 0 else str(int(text))


def _subject(action: str, words: Sequence[str]) -> tuple[str, str]:
    if len(words) == 2 and words[0] in _NAMED:
        words = [":".join(words)]
    if len(words) != 1:
        raise UsageError(f"name one host, spider:NAME or job:NAME; for example: {_example(action)}")
    what, colon, name = words[0].partition(":")
    if not colon or what not in _NAMED:
        what, name = "host", words[0]
    if what == "host":
        return what, _host(name)
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise UsageError(f"{words[0]!r} names no {what}; write {what}:NAME")
    return what, name


def _host(text: str) -> str:
    try:
        return host_of(canonical(text if "://" in text else f"http://{text}/"))
    except BadUrl as error:
        raise UsageError(f"{text!r} is not a host ({error.why}); write a.example, spider:NAME or job:NAME") from None


def _misplaced(action: str, what: str) -> str:
    if what == "callback":
        return f"only pause and resume take a callback; for example: {_example('pause')}"
    if action == "priority":
        return "a spider sets the priority of its own requests: Request(priority=…); set it here for hosts and jobs"
    return f"{action} can be set for a host, not for a {what}; for example: {_example(action)}"


def _example(action: str) -> str:
    values = {"rate": "10/m", "concurrency": "4", "priority": "10", "log-level": "DEBUG"}
    subject = "" if action == "log-level" else "a.example "
    return f"{PROGRAM} control {action} {subject}{values.get(action, '')}".rstrip()
