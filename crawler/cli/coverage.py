"""`coverage`: in how many items of a job each field is filled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.options import Invocation, Json, config_of, option
from crawler.cli.status import nothing_yet
from crawler.runtime.safe_text import json_line, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crawler.app.config import Config
    from crawler.model import Job
    from crawler.status import Coverage


def coverage(
    invocation: Invocation,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job; default: all.", show_default=False)] = "",
    spider: Annotated[str, option("--spider", metavar="NAME", help="Only the items of this spider.")] = "",
    json_: Json = False,
) -> int:
    """Show in how many items each field has a value, by callback and class of the items.

    crawler coverage shop
    """
    config = config_of(invocation)
    if note := nothing_yet(config):
        print(json_line([]) if json_ else note)
        return 0
    return asyncio.run(_coverage(config, job, spider, as_json=json_))


async def _coverage(config: Config, name: str, spider: str, *, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.app.jobs import job_named
    from crawler.cli import tables
    from crawler.views.coverage import as_data

    async with connect(config) as connected:
        jobs = [await job_named(connected.jobs, name)] if name else await connected.jobs.all()
        found = [(job, _of(spider, await connected.reading.coverage(job))) for job in jobs]
    if as_json:
        print(json_line([{"job": job.name, "callbacks": as_data(callbacks)} for job, callbacks in found]))
        return 0
    if not found:
        print("no jobs")
    console = tables.console()
    for job, callbacks in found:
        console.print(view(job, callbacks, bars=console.is_terminal))
    return 0


def _of(spider: str, callbacks: Sequence[Coverage]) -> list[Coverage]:
    return [one for one in callbacks if not spider or one.callback.rpartition(".")[0] == spider]


def view(job: Job, callbacks: Sequence[Coverage], *, bars: bool) -> RenderableType:
    """Return what `coverage` prints of one job."""
    from rich.console import Group as Lines
    from rich.text import Text

    from crawler.cli.tables import table
    from crawler.views.coverage import rows, title, uncounted

    columns = ("field", *([""] if bars else []), "filled", "items", "a page that lacks it")
    parts: list[RenderableType] = []
    for one in callbacks:
        parts += [Text(), Text(title(one)), table(columns, rows(one, bars=bars), numbers=("filled", "items"))]
        parts += [Text(uncounted(one), "yellow")] if one.others else []
    if not callbacks:
        parts.append(Text("no items yet"))
    return Lines(Text(f"job {shown(job.name)}", style="bold"), *parts, Text())
