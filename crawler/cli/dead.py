"""`dead`, `redrive` and `reap`: what was given up, and putting things back."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.figures import counted
from crawler.cli.options import Call, Json, config_of, flag, option
from crawler.errors import UsageError
from crawler.printable import shown

if TYPE_CHECKING:
    from crawler.app import Config
    from crawler.interfaces import Frontier
    from crawler.model import Job

JobName = Annotated[str, option("--job", metavar="NAME", help="Which job; needed when there are several.")]


def dead(
    call: Call,
    job: Annotated[str, option("--job", metavar="NAME", help="Only this job.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many a job.")] = 100,
    json_: Annotated[bool, flag("--json", help="All that is known, one JSON object a line.")] = False,
) -> int:
    """List the requests that were given up and why, the newest first."""
    return asyncio.run(_dead(config_of(call), job, limit, as_json=json_))


async def _dead(config: Config, name: str, limit: int, *, as_json: bool) -> int:
    import msgspec

    from crawler import app
    from crawler.cli import tables

    async with app.connect(config) as connected:
        jobs = [await _job(connected.frontier, name)] if name else await connected.frontier.jobs()
        letters = [(job.name, letter) for job in jobs for letter in await connected.frontier.dead_letters(job, limit)]
    if as_json:
        for its_job, letter in letters:
            print(json.dumps({"job": its_job, **msgspec.to_builtins(letter)}))
    elif letters:
        tables.console().print(tables.dead_table(letters))
        print("\nTry them again: crawler redrive ID..., or --all", file=sys.stderr)
    else:
        print("nothing was given up")
    return 0


def redrive(
    call: Call,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="As listed by: dead")] = None,
    all_: Annotated[bool, flag("--all", help="All of the job.")] = False,
    job: JobName = "",
) -> int:
    """Put requests that were given up back among the pending, with a clean account."""
    if bool(ids) == all_:
        raise UsageError("say which: crawler redrive ID..., or --all; `crawler dead` lists them")
    return asyncio.run(_redrive(config_of(call), job, None if all_ else ids))


async def _redrive(config: Config, name: str, ids: list[str] | None) -> int:
    from crawler import app

    async with app.connect(config) as connected:
        job = await _job(connected.frontier, name)
        moved = await connected.frontier.redrive(job, ids)
    print(f"{counted(moved)} back to pending (job {job.name})")
    missing = 0 if ids is None else len(set(ids)) - moved
    if missing:
        raise UsageError(
            f"{counted(missing)} of these ids are not among the dead of job {job.name}; "
            f"see: crawler dead --job {job.name}"
        )
    return 0


async def _job(frontier: Frontier, name: str) -> Job:
    """The job of that name, or the only one there is. Raises `UsageError`."""
    jobs = {job.name: job for job in await frontier.jobs()}
    if name in jobs:
        return jobs[name]
    known = ", ".join(jobs) or "none"
    if name:
        raise UsageError(f"no job is named {name!r}; there are: {known}")
    if len(jobs) == 1:
        return next(iter(jobs.values()))
    raise UsageError(f"say which job with --job NAME; there are: {known}")


def reap(call: Call, json_: Json = False) -> int:
    """Give the requests of workers that have died back to the others. Workers do this by themselves, too."""
    return asyncio.run(_reap(config_of(call), as_json=json_))


async def _reap(config: Config, *, as_json: bool) -> int:
    import msgspec

    from crawler import app

    async with app.connect(config) as connected:
        reaped = await connected.frontier.reap()
    if as_json:
        print(json.dumps(msgspec.to_builtins(reaped)))
        return 0
    for one in reaped:
        print(f"{shown(one.worker)}: {counted(one.requeued)} back to pending, {counted(one.dead)} given up")
    if not reaped:
        print("no worker's lease has expired: nothing to take back")
    return 0
