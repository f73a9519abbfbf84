"""`control`: change a running crawl, list the rules in force and who set them, revert changes."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from crawler.cli.options import Invocation, Json, config_of, option
from crawler.errors import UsageError
from crawler.parsing.charset import clean
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line, shown
from crawler.views.job_names import no_job

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.interfaces import Backend, Closing, Control, Jobs, Reading
    from crawler.model import Rule, RuleChange

ANSWER_SECONDS = 1.0  # how long workers have to answer
POLL_SECONDS = 0.02  # between two polls for answers

Action = Literal[
    "rate",
    "concurrency",
    "pause",
    "resume",
    "block",
    "unblock",
    "priority",
    "log-level",
    "list",
    "log",
    "revert",
]


def control(
    invocation: Invocation,
    action: Annotated[
        Action, typer.Argument(help=f"What to change or show: {', '.join(get_args(Action))}.", show_default=False)
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUBJECT",
            help="A HOST, spider:NAME, callback:SPIDER.METHOD or job:NAME, and its value.",
            show_default=False,
        ),
    ] = None,
    why: Annotated[str, option("--why", metavar="TEXT", help="The reason; shown by list, log and status.")] = "",
    job: Annotated[str, option("--job", metavar="NAME", help="Pause or resume in this job only.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most lines that log shows.")] = 50,
    json_: Json = False,
) -> int:
    """Change a running crawl: pace, pauses, blocks, priorities, log level. Applies to the whole fleet until lifted.

    The value `off` lifts a rule, `resume` a pause, `unblock` a block; `list` shows the rules in force, `log` all.

    crawler control rate a.example 10/m
    crawler control concurrency a.example 4
    crawler control pause spider:shop
    crawler control block a.example
    crawler control priority a.example 10
    crawler control log-level DEBUG
    crawler control revert NUMBER
    """
    from crawler.control.rules import parse

    words = words or []
    if action in ("list", "log") and words:
        raise UsageError(f"control {action} takes no further words")
    if job and action not in ("pause", "resume"):
        raise UsageError(
            f"--job restricts pause and resume; `{action}` of a job is: {PROGRAM} control {action} job:{job}"
        )
    rule = None if action in ("list", "log", "revert") else parse(action, words)
    if action == "revert" and len(words) > 1:
        raise UsageError(f"one change at a time: {PROGRAM} control revert NUMBER; see: {PROGRAM} control log")
    config = config_of(invocation)
    if action == "list":
        return asyncio.run(_list(config, as_json=json_))
    if action == "log":
        return asyncio.run(_log(config, limit, as_json=json_))
    return asyncio.run(_change(config, rule, words, job, why, as_json=json_))


async def _change(config: Config, rule: Rule | None, words: list[str], job: str, why: str, *, as_json: bool) -> int:
    from msgspec.structs import replace

    from crawler.app.connect import connect
    from crawler.control.rules import LOG_KEPT, undone

    async with connect(config) as connected:
        undoes = ""
        if rule is None:
            rule, undoes = undone(await connected.control.rule_log(LOG_KEPT), *words)
        else:
            rule = replace(rule, job=job)
        await _check_names(connected.jobs, rule)
        rule = replace(rule, why=clean(why) or rule.why, by=who())
        change = await connected.control.set_rule(rule, undoes=undoes)
        resumed = await _resume(connected, rule) if rule.action == "pause" and not rule.value else []
        reopened = await _reopen(connected.jobs, connected.closing, rule)
        answers, silent = await answers_to(connected.control, connected.reading, change.call)
    if as_json:
        data = {"change": _as_data(change), "resumed": resumed, "reopened": reopened}
        print(json_line({**data, "answers": answers, "silent": silent}))
    else:
        _say(change, resumed, reopened, answers, silent)
    return 0


def who() -> str:
    """Return the user and the machine, for those who read who changed something."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


async def _check_names(jobs: Jobs, rule: Rule) -> None:
    """Warn about a job that does not exist: it may be created later, but the name may also be misspelt."""
    names = [job.name for job in await jobs.all()]
    for name in (rule.job, rule.name if rule.what == "job" else ""):
        if name and name not in names and rule.value:
            print(f"note: {no_job(name, names)}; the rule waits for it", file=sys.stderr)


async def _resume(connected: Backend, rule: Rule) -> list[str]:
    """Also lift the pauses within single jobs: those that people set, and those that commits set when pages failed
    alike. Return the jobs of the latter."""
    from msgspec.structs import replace

    for other in await connected.control.rules():
        same = (other.action, other.what, other.name) == ("pause", rule.what, rule.name)
        if same and other.job and not rule.job:
            await connected.control.set_rule(replace(rule, job=other.job))
    found = []
    for job in await connected.jobs.all():
        wanted = rule.job or (rule.name if rule.what == "job" else job.name)
        if job.name == wanted and await connected.pauses.resume(job, rule.what, rule.name):
            found.append(job.name)
    return found


async def _reopen(jobs: Jobs, closing: Closing, rule: Rule) -> str:
    """Open a closed job again if it is to be resumed. Return why it was closed; empty if it was not."""
    if (rule.action, rule.what, rule.value) != ("pause", "job", ""):
        return ""
    found = [job for job in await jobs.all() if job.name == rule.name]
    return await closing.reopen(found[0]) if found else ""


async def answers_to(control: Control, reading: Reading, call: str) -> tuple[dict[str, str], list[str]]:
    """Return (worker → answer, living workers that did not answer within `ANSWER_SECONDS`)."""
    deadline = time.monotonic() + ANSWER_SECONDS
    alive = [one.worker for one in await reading.workers() if one.lease_left > 0]
    while True:
        answers = await control.answers(call)
        silent = sorted(set(alive) - set(answers))
        if not silent or time.monotonic() > deadline:
            return dict(sorted(answers.items())), silent
        await asyncio.sleep(POLL_SECONDS)


def _say(change: RuleChange, resumed: list[str], reopened: str, answers: Mapping[str, str], silent: list[str]) -> None:
    from crawler.control.rules import described

    before = f" (before: {change.before})" if change.before and change.rule.action not in ("pause", "block") else ""
    nothing = not change.rule.value and not change.before and not resumed and not reopened
    told = "there was no such rule" if nothing else "in force" if change.rule.value else "lifted"
    print(f"{shown(described(change.rule))}: {told}{before}, change {change.rule.id}")
    if resumed:
        print(f"resumed in: {', '.join(map(shown, resumed))}")
    if reopened:
        print(f"opened again, without limits; it was closed: {shown(reopened)}")
    for worker, answer in answers.items():
        print(f"{shown(worker)}: {shown(answer)}")
    tell_silent(silent)
    if not answers and not silent:
        print("no worker is running; the rule applies to workers started later")


def tell_silent(silent: list[str]) -> None:
    """Print the names of the workers that have not answered."""
    for worker in silent:
        print(f"{shown(worker)}: no answer within {ANSWER_SECONDS:g} s", file=sys.stderr)


async def _list(config: Config, *, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables
    from crawler.control.rules import described

    async with connect(config) as connected:
        rules = await connected.control.rules()
    if as_json:
        import msgspec

        print(json_line(msgspec.to_builtins(rules)))
    elif rules:
        rows = ((rule.id, described(rule), rule.by, tables.moment(rule.at), rule.why) for rule in rules)
        tables.console().print(tables.table(("change", "in force", "by", "since (UTC)", "why"), rows))
    else:
        print("no rules are in force; only the settings apply")
    return 0


async def _log(config: Config, limit: int, *, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables
    from crawler.control.rules import described

    async with connect(config) as connected:
        log = await connected.control.rule_log(limit)
    if as_json:
        print(json_line([_as_data(change) for change in log]))
        return 0
    rows = (
        (
            *(change.rule.id, tables.moment(change.rule.at), change.rule.by, described(change.rule)),
            *(change.before or "-", f"takes back {change.undoes}" if change.undoes else change.rule.why),
        )
        for change in log
    )
    columns = ("change", "when (UTC)", "by", "what", "before", "why")
    tables.console().print(tables.table(columns, rows) if log else "no changes yet")
    return 0


def _as_data(change: RuleChange) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(change.rule), "before": change.before, "undoes": change.undoes}
