"""`schedule`: crawls that begin by a cron line. Add, list, pause and remove schedules, and run a scheduler."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from typer import TyperException

from crawler.cli.control import who
from crawler.cli.crawl import crawl
from crawler.cli.exits import say_error
from crawler.cli.options import (
    Command,
    Invocation,
    Json,
    config_of,
    flag,
    option,
    spider_arguments,
    targets_of,
    with_shared_options,
)
from crawler.cli.seed import make_spider, own_seeds
from crawler.cli.seeds import Seeds
from crawler.errors import CrawlerError, Exit, UsageError
from crawler.model import DEFAULT_SPIDER
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line
from crawler.runtime.signals import run
from crawler.schedules.timetable import (
    Change,
    Overlap,
    Schedule,
    Timetable,
    job_of,
    pause,
    problems,
    resumed,
    timetable,
)
from crawler.schedules.words import wrong_words
from crawler.settings import SCHEDULED
from crawler.views.schedules import as_data, schedule_in_words

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.interfaces import Backend, Schedules
    from crawler.views.results import JobResult

Action = Literal["add", "list", "run", "pause", "resume", "remove"]


def schedule(
    invocation: Invocation,
    action: Annotated[Action, typer.Argument(help=f"What to do: {', '.join(get_args(Action))}.", show_default=False)],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="The schedule; for add also the cron line.", show_default=False),
    ] = None,
    tz: Annotated[str, option("--tz", metavar="ZONE", help="Time zone of the cron line; default: UTC.")] = "UTC",
    overlap: Annotated[
        Overlap,
        option("--overlap", help="If the run before has not ended: skip (default), queue, replace it, or both."),
    ] = "skip",
    catch_up: Annotated[
        bool, flag("--catch-up", help="Run ticks that were missed, one after the other; default: skip them.")
    ] = False,
    keep: Annotated[int, option("--keep", min=0, metavar="N", help="Finished jobs to keep; default: 5; 0: all.")] = 5,
    json_: Json = False,
) -> int:
    """Crawl by a cron line. Each run is a job of its own, NAME-TIME. `run` is the scheduler: it works until stopped.

    Start `run` on as many machines as you like, in the folder of your spiders: each tick runs once. `run NAME` runs the
    crawl of that schedule now, beside its ticks, and ends with its exit code. SCHEDULES in settings.py may name others.

    crawler schedule add news '*/15 * * * *' --tz Europe/Berlin -- crawl https://a.example/ -O news.jsonl
    crawler schedule run
    crawler schedule list
    crawler schedule pause news
    crawler schedule resume news
    crawler schedule remove news
    """
    names = words or []
    config = config_of(invocation)
    if action == "add":
        made = _made(config, names, tz=tz, overlap=overlap, catch_up=catch_up, keep=keep)
        return asyncio.run(_add(config, made, as_json=json_))
    if action == "list":
        _check_number(action, names, 0, 0)
        return asyncio.run(_list(config, as_json=json_))
    if action == "run":
        if json_:
            raise UsageError(f"schedule run prints no JSON; what it did: {PROGRAM} schedule list --json")
        _check_number(action, names, 0, 1)
        return _run(invocation, config, names)
    _check_number(action, names, 1, 1)
    return asyncio.run(_change(config, action, names[0], as_json=json_))


def _check_number(action: str, words: Sequence[str], least: int, most: int) -> None:
    if not least <= len(words) <= most:
        takes = {(0, 0): "no name", (0, 1): "one name at most", (1, 1): "one name"}[least, most]
        raise UsageError(f"schedule {action} takes {takes}; see: {PROGRAM} schedule --help")


# --- add


def _made(config: Config, words: Sequence[str], **fields: Any) -> Schedule:
    """Return the schedule. Raise `UsageError` with all that is wrong."""
    if len(words) < 3:
        raise UsageError(f"schedule add takes a name, a cron line and a command: {PROGRAM} schedule add {_EXAMPLE}")
    name, cron, *command = words
    made = Schedule(name, cron, tuple(command), **fields)
    wrong = [*problems(made), *(list(wrong_words(command, SCHEDULED)) or wrong_values(config, command))]
    if wrong:
        raise UsageError("\n  ".join(wrong))
    return made


_EXAMPLE = "news '*/15 * * * *' -- crawl https://a.example/ -O news.jsonl"
_NONE = f"no schedules; add one: {PROGRAM} schedule add {_EXAMPLE}"


def wrong_values(config: Config, command: Sequence[str]) -> Iterator[str]:
    """Yield what `crawl` would say of these words, without crawling."""
    try:
        given = _parsed(command)
        made = make_spider(config, given["spider"] or DEFAULT_SPIDER, spider_arguments(given["arguments"]))
        if not (given["urls"] or given["file"]):
            own_seeds(made)
        Seeds(given["urls"] or (), given["file"] or ())
        targets_of(given["output"], given["overwrite"], append=given["append"])
    except TyperException as error:
        yield error.format_message()
    except CrawlerError as error:
        yield str(error)


def _parsed(command: Sequence[str]) -> Mapping[str, Any]:
    """Return the options and arguments of a `crawl` command by their names in Python."""
    app = typer.Typer(add_completion=False)
    app.command(cls=Command)(with_shared_options(crawl))
    with typer.main.get_command(app).make_context("crawl", list(command[1:])) as context:
        return dict(context.params)


async def _add(config: Config, made: Schedule, *, as_json: bool) -> int:
    from crawler.app.connect import connect

    async with connect(config) as connected:
        table = timetable(made, await connected.schedules.now())
        if not await connected.schedules.replace(None, table):
            before = await connected.schedules.get(made.name)
            if before is None or before.schedule != made:
                raise UsageError(
                    f"schedule {made.name} exists; remove it first: {PROGRAM} schedule remove {made.name}; "
                    f"see: {PROGRAM} schedule list"
                )
            table = before
        data = as_data(table, await _last(config, connected, table))
    said = f"schedule {made.name}: next {table.times.shown(table.next)}; it needs a scheduler: {PROGRAM} schedule run"
    print(json_line(data) if as_json else said)
    return Exit.DONE


# --- run


def _run(invocation: Invocation, config: Config, names: Sequence[str]) -> int:
    from crawler.app.schedules import run_now, run_schedules

    if not names:
        return run(run_schedules(config, invocation.overrides))
    code = run(run_now(config, names[0], invocation.overrides))
    if code is None:
        run(_named(config, names[0]))
        say_error(
            f"a run of schedule {names[0]} has not ended, and only --overlap both lets two run at once; "
            f"if nobody runs it any more, a scheduler goes on with it: {PROGRAM} schedule run"
        )
        return Exit.TRY_LATER
    return code


async def _named(config: Config, name: str) -> Timetable:
    from crawler.app.connect import connect

    async with connect(config) as connected:
        return await _table_of(config, connected.schedules, name)


async def _table_of(config: Config, schedules: Schedules, name: str) -> Timetable:
    """Return the timetable of that name. Raise `UsageError` if there is none."""
    table = await schedules.get(name)
    if table is None:
        names = [one.name for one in await schedules.all()]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
        if name in config.settings.SCHEDULES:
            hint = f"SCHEDULES does, and a scheduler stores it when it starts: {PROGRAM} schedule run"
        raise UsageError(f"no schedule is named {name}; {hint}")
    return table


# --- pause, resume, remove


async def _change(config: Config, action: str, name: str, *, as_json: bool) -> int:
    from crawler.app.connect import connect

    async with connect(config) as connected:
        schedules = connected.schedules
        now = await schedules.now()
        table: Timetable | None
        if action == "remove":
            table, said = await _remove(config, schedules, name)
        elif action == "pause":
            table, is_new = await _changed(config, schedules, name, lambda table: pause(table, f"by {who()}"))
            said = f"schedule {name}: " + ("paused; its runs go on" if is_new else "was paused already")
        else:
            table, is_new = await _changed(config, schedules, name, lambda table: resumed(table, now))
            said = f"schedule {name}: " + (f"next {table.times.shown(table.next)}" if is_new else "was not paused")
        data = as_data(table, await _last(config, connected, table)) if table else {"name": name}
    print(json_line(data) if as_json else said)
    return Exit.DONE


async def _changed(config: Config, schedules: Schedules, name: str, change: Change) -> tuple[Timetable, bool]:
    """Return the timetable as it is now, and whether this call has changed it."""
    while True:
        before = await _table_of(config, schedules, name)
        after = change(before)
        if after is None or await schedules.replace(before, after):
            return after or before, after is not None


async def _remove(config: Config, schedules: Schedules, name: str) -> tuple[Timetable | None, str]:
    """Return what was removed, None if its record cannot be read, and what to say."""
    table = await schedules.get(name)
    if table is not None and table.schedule.origin:
        raise UsageError(
            f"schedule {name} comes from SCHEDULES in {table.schedule.origin}: remove it there, "
            f"and start the scheduler again; or {PROGRAM} schedule pause {name}"
        )
    if not await schedules.remove(name):
        await _table_of(config, schedules, name)
    runs = "".join(f"; the run of job {job_of(name, run.tick)} is stopped" for run in (table.runs if table else ()))
    return table, f"removed schedule {name}{runs}; its jobs stay: {PROGRAM} jobs"


# --- list


async def _list(config: Config, *, as_json: bool) -> int:
    from crawler.app.connect import connect, has_server
    from crawler.cli import tables

    if not has_server(config):
        print("[]" if as_json else _NONE)
        return Exit.DONE
    async with connect(config) as connected:
        now = await connected.schedules.now()
        found = [(table, await _last(config, connected, table)) for table in await connected.schedules.all()]
    if as_json:
        print(json_line([as_data(table, last) for table, last in found]))
    for table, last in () if as_json else found:
        tables.console().print(table.name, style="bold")
        tables.console().print(tables.fields(schedule_in_words(table, last, now)))
    if not found and not as_json:
        print(_NONE)
    return Exit.DONE


async def _last(config: Config, connected: Backend, table: Timetable) -> JobResult | None:
    """Return the result of the job of the last run that has ended; None if none has."""
    from crawler.app.results import job_result

    if not table.ends:
        return None
    return await job_result(connected, job_of(table.name, table.ends[0].tick), strict=config.settings.STRICT)
