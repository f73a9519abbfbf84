"""`redrive`, `drop` and `reap`: put requests back, or delete them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.dead import Where, chosen
from crawler.cli.options import Invocation, Json, config_of, flag, option
from crawler.errors import UsageError
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line, shown
from crawler.views.figures import counted, several

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.control.dead_letters import Condition
    from crawler.interfaces import DeadItems, Letters
    from crawler.model import Job

JobName = Annotated[str, option("--job", metavar="NAME", help="The job; required when there are several.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help=f"Ids from: {PROGRAM} dead --list", show_default=False)
]
Items = Annotated[
    bool, flag("--items", help=f"Items that an output could not store, of `{PROGRAM} dead items`; not dead letters.")
]
All = Annotated[bool, flag("--all", help="All dead letters of the job.")]


def redrive(
    invocation: Invocation,
    ids: Ids = None,
    where: Where = None,
    all_: All = False,
    incomplete: Annotated[
        bool, flag("--incomplete", help="Pages whose items lack fields that they had before (docs/coverage.md).")
    ] = False,
    items: Items = False,
    job: JobName = "",
) -> int:
    """Try dead letters again: put their requests back to pending, with no attempts counted.

    With --incomplete, fetch pages again whose items were incomplete. Those items have been written already.
    With --items, let the exporter write items again that an output could not store. Only that output gets them.
    """
    if incomplete:
        if ids or where or all_ or items:
            raise UsageError("--incomplete means pages that were read: leave out ids, --where, --items and --all")
        return asyncio.run(_redo(config_of(invocation), job))
    return _move(invocation, "redrive", ids, where, job, everything=all_, items=items)


def drop(
    invocation: Invocation,
    ids: Ids = None,
    where: Where = None,
    all_: All = False,
    items: Items = False,
    job: JobName = "",
) -> int:
    """Delete dead letters for good. Their URLs stay known, so the job does not fetch them again.

    With --items: delete items for good that an output could not store.
    """
    return _move(invocation, "drop", ids, where, job, everything=all_, items=items)


async def _redo(config: Config, name: str) -> int:
    from crawler.app.connect import connect
    from crawler.app.jobs import job_named

    async with connect(config) as connected:
        job = await job_named(connected.jobs, name)
        moved = await connected.letters.redo(job)
    print(f"{several(moved, 'page')} back to pending (job {job.name}); their incomplete items stay in the output")
    return 0


def _move(
    invocation: Invocation,
    verb: str,
    ids: list[str] | None,
    where: list[str] | None,
    job: str,
    *,
    everything: bool,
    items: bool,
) -> int:
    from crawler.control.dead_letters import parse_condition

    if items and (where or bool(ids) == everything):
        raise UsageError(f"say which: {PROGRAM} {verb} --items ID..., or --all; `{PROGRAM} dead items` lists them")
    if items:
        return asyncio.run(_move_items(config_of(invocation), verb, job, ids))
    if [bool(ids), bool(where), everything].count(True) != 1:
        raise UsageError(
            f"say which: {PROGRAM} {verb} ID..., --where FIELD=PATTERN, or --all; `{PROGRAM} dead --list` lists them"
        )
    conditions = [parse_condition(text) for text in where or ()]
    return asyncio.run(_move_some(config_of(invocation), verb, job, ids, conditions))


async def _move_some(
    config: Config, verb: str, name: str, ids: list[str] | None, conditions: Sequence[Condition]
) -> int:
    from crawler.app.connect import connect
    from crawler.app.jobs import job_named

    async with connect(config) as connected:
        letters = connected.letters
        job = await job_named(connected.jobs, name)
        if conditions:
            matching = [letter.id async for letter in chosen(letters, job, conditions)]
        moved = await _transition(letters, verb, job, matching if conditions else ids)
    print(f"{counted(moved)} {'back to pending' if verb == 'redrive' else 'dropped'} (job {job.name})")
    missing = 0 if ids is None else len(set(ids)) - moved
    if missing:
        raise UsageError(
            f"{counted(missing)} of these ids are not dead letters of job {job.name}, or are junk without a request; "
            f"see: {PROGRAM} dead --list --job {job.name}"
        )
    return 0


async def _move_items(config: Config, verb: str, name: str, ids: list[str] | None) -> int:
    from crawler.app.connect import connect
    from crawler.app.jobs import job_named

    async with connect(config) as connected:
        job = await job_named(connected.jobs, name)
        moved = await _transition(connected.dead_items, verb, job, ids)
    print(f"{counted(moved)} {'back to the outbox' if verb == 'redrive' else 'dropped'} (job {job.name})")
    if missing := 0 if ids is None else len(set(ids)) - moved:
        raise UsageError(
            f"{counted(missing)} of these ids are not dead items of job {job.name}; see: {PROGRAM} dead items"
        )
    return 0


async def _transition(letters: Letters | DeadItems, verb: str, job: Job, ids: list[str] | None) -> int:
    return await (letters.redrive(job, ids) if verb == "redrive" else letters.drop(job, ids))


def reap(invocation: Invocation, json_: Json = False) -> int:
    """Put the requests of silent workers back at once. Running workers also do this on their own."""
    return asyncio.run(_reap(config_of(invocation), as_json=json_))


async def _reap(config: Config, *, as_json: bool) -> int:
    import msgspec

    from crawler.app.connect import connect

    async with connect(config) as connected:
        reaped = await connected.leases.reap()
    if as_json:
        print(json_line(msgspec.to_builtins(reaped)))
        return 0
    for one in reaped:
        print(f"{shown(one.worker)}: {counted(one.requeued)} back to pending, {counted(one.dead)} given up")
    if not reaped:
        print("no worker's lease has expired: nothing to take back")
    return 0
