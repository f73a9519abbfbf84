"""`dead`: dead letters and their reasons: in groups, one by one, or one in full."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crawler.amqp.address import is_amqp
from crawler.cli.options import Invocation, advise, config_of, flag, option
from crawler.errors import UsageError
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line, shown
from crawler.runtime.signals import run
from crawler.runtime.url_words import has_word
from crawler.views.figures import several

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.control.dead_letters import Condition
    from crawler.interfaces import Jobs, Letters
    from crawler.model import DeadItem, Job
    from crawler.status import DeadLetter

BY = ("error", "line")  # the default grouping
LIMIT = 100  # lines for each job, unless the user asks for more or fewer

Where = Annotated[
    list[str] | None,
    option(
        "--where",
        metavar="FIELD=PATTERN",
        help="Only matching ones, e.g. 'error=http_5*'; if repeated, all must match.",
    ),
]


def dead(
    invocation: Invocation,
    action: Annotated[
        Literal["groups", "show", "items"],
        typer.Argument(help="groups; show ID... for letters in full; items: those that an output could not store."),
    ] = "groups",
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", show_default=False)] = None,
    group: Annotated[
        list[str] | None,
        option("--group", metavar="FIELD", help="Group by this field; may be repeated (default: error, line)."),
    ] = None,
    list_: Annotated[bool, flag("--list", help="List them one by one, the newest first.")] = False,
    where: Where = None,
    job: Annotated[str, option("--job", metavar="NAME", help="Only this job.")] = "",
    limit: Annotated[int | None, option("--limit", min=1, metavar="N", help="Most lines per job (100).")] = None,
    json_: Annotated[bool, flag("--json", help="Print one JSON object per line; letters in full.")] = False,
    output: Annotated[
        str, option("-o", "--output", metavar="URL", help="Send them to amqp://…?exchange=NAME, as --json prints them.")
    ] = "",
    follow: Annotated[bool, flag("--follow", help="With -o: go on with those that come, until stopped.")] = False,
) -> int:
    """Show the requests that were given up and why, in groups, the largest first.

    FIELD is one of: error, host, spider, callback, line (of the spider's file), url, status, worker.
    """
    from crawler.control.dead_letters import known_field, parse_condition

    if action == "items" and (ids or group or list_ or where or output or follow):
        raise UsageError(f"{PROGRAM} dead items takes --job, --limit and --json only")
    if action == "groups" and ids:
        raise UsageError(f"{PROGRAM} dead groups takes no ids; letters in full: {PROGRAM} dead show ID...")
    if action == "show" and not ids:
        raise UsageError(f"name the letters to show: {PROGRAM} dead show ID...; `{PROGRAM} dead --list` lists them")
    if action == "show" and (group or list_ or where):
        raise UsageError(f"{PROGRAM} dead show ID... takes no --group, --list or --where, only ids")
    if action == "items":
        return asyncio.run(_items(config_of(invocation), job, limit or LIMIT, as_json=json_, quiet=invocation.quiet))
    by = [known_field(name, "--group") for name in group or BY]
    conditions = [parse_condition(text) for text in where or ()]
    config = config_of(invocation)
    if output or follow:
        _check_output(output, others=bool(ids or group or list_ or json_ or limit))
        return _send(config, job, output, conditions, follow=follow)
    if ids:
        return asyncio.run(_show(config, job, set(ids), as_json=json_))
    limit = limit or LIMIT
    if list_:
        return asyncio.run(_list(config, job, conditions, limit, as_json=json_, quiet=invocation.quiet))
    return asyncio.run(_groups(config, job, by, conditions, limit, as_json=json_, quiet=invocation.quiet))


def _check_output(output: str, *, others: bool) -> None:
    if not is_amqp(output) or has_word(output, "stream"):
        raise UsageError(f"-o {shown(output)}: dead letters go to an exchange: -o 'amqp://host/vhost?exchange=NAME'")
    if others:
        raise UsageError("-o takes --job, --where and --follow, and none of the options that print")


def _send(config: Config, job: str, output: str, conditions: Sequence[Condition], *, follow: bool) -> int:
    from crawler.app.dead import send_dead
    from crawler.export.target import Target

    sent = run(send_dead(config, job, Target(output), conditions, follow=follow))
    print(f"{several(sent, 'dead letter')} → {shown(output)}", file=sys.stderr)
    return 0


async def _items(config: Config, name: str, limit: int, *, as_json: bool, quiet: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables

    async with connect(config) as connected:
        jobs = await _jobs(connected.jobs, name)
        found = [(job.name, item) for job in jobs async for item in _first(connected.dead_items.each(job), limit)]
    if as_json:
        _print_items(found)
    elif found:
        tables.console().print(tables.dead_items_table(found))
        text = f"Store them, once the cause is gone: {PROGRAM} redrive --items --all   delete: {PROGRAM} drop --items"
        advise(f"\n{text}", quiet=quiet)
    else:
        print("no dead items")
    return 0


async def _first(items: AsyncIterator[DeadItem], limit: int) -> AsyncIterator[DeadItem]:
    async for item in items:
        if not limit:
            return
        limit -= 1
        yield item


async def _groups(
    config: Config,
    name: str,
    by: Sequence[str],
    conditions: Sequence[Condition],
    limit: int,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables
    from crawler.control.dead_letters import Groups

    found = []
    failing = []
    async with connect(config) as connected:
        for job in await _jobs(connected.jobs, name):
            failing += [(job.name, one) for one in await connected.letters.failing(job, limit)]
            groups = Groups(by)
            async for letter in chosen(connected.letters, job, conditions):
                groups.add(letter)
            found += [(job.name, group) for group in groups.largest(limit)]
    if as_json:
        for its_job, group in found:
            values = dict(zip(by, group.values, strict=True))
            rest = {
                "count": group.count,
                "newest": group.newest,
                "example": {"id": group.id, "url": group.url, "said": group.message},
            }
            print(json_line({"job": its_job, **values, **rest}))
    elif found:
        tables.console().print(tables.dead_groups_table(by, found))
        _say_what_now(quiet=quiet)
    else:
        print(_none(conditions))
    if failing and not as_json and not conditions:
        print("\nNot given up; they wait for another try:")
        tables.console().print(tables.failing_table(failing))
    return 0


async def _list(
    config: Config, name: str, conditions: Sequence[Condition], limit: int, *, as_json: bool, quiet: bool
) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables
    from crawler.control.dead_letters import newest

    found = []
    async with connect(config) as connected:
        for job in await _jobs(connected.jobs, name):
            letters = await newest(chosen(connected.letters, job, conditions), limit)
            found += [(job.name, letter) for letter in letters]
    if as_json:
        _print_json(found)
    elif found:
        tables.console().print(tables.dead_table(found))
        _say_what_now(quiet=quiet)
    else:
        print(_none(conditions))
    return 0


async def _show(config: Config, name: str, ids: Collection[str], *, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables

    async with connect(config) as connected:
        jobs = await _jobs(connected.jobs, name)
        found = [(job.name, letter) for job in jobs async for letter in connected.letters.each(job, ids)]
    if as_json:
        _print_json(found)
    for its_job, letter in () if as_json else found:
        tables.console().print(tables.letter_view(its_job, letter))
    missing = sorted(set(ids) - {letter.id for _, letter in found})
    if missing:
        raise UsageError(f"no dead letter has the id {', '.join(missing)}; see: {PROGRAM} dead --list")
    return 0


def _print_items(items: Sequence[tuple[str, DeadItem]]) -> None:
    import msgspec

    for job, one in items:
        print(json_line({"job": job, **msgspec.to_builtins(one), "item": msgspec.json.decode(one.item)}))


def _print_json(letters: Sequence[tuple[str, DeadLetter]]) -> None:
    import msgspec

    for job, letter in letters:
        print(json_line({"job": job, **msgspec.to_builtins(letter)}))


def _say_what_now(*, quiet: bool) -> None:
    text = (
        f"One in full: {PROGRAM} dead show ID (ids: --list)   filter: --where 'error=http_5*'\n"
        f"Try again: {PROGRAM} redrive ID... | --where FIELD=PATTERN | --all   delete: {PROGRAM} drop, same arguments"
    )
    advise(f"\n{text}", quiet=quiet)


def _none(conditions: Sequence[Condition]) -> str:
    return "no dead letter matches" if conditions else "no dead letters"


async def _jobs(jobs: Jobs, name: str) -> list[Job]:
    """Return the job of that name, or all jobs when `name` is empty."""
    from crawler.app.jobs import job_named

    return [await job_named(jobs, name)] if name else await jobs.all()


async def chosen(letters: Letters, job: Job, conditions: Sequence[Condition]) -> AsyncIterator[DeadLetter]:
    """Yield the job's dead letters that meet the conditions."""
    from crawler.control.dead_letters import meets

    async for letter in letters.each(job):
        if meets(letter, conditions):
            yield letter
