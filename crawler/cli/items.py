"""`items`: looks at the items that wait in the outbox of a job. It removes none."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.options import Invocation, Json, advise, config_of, flag, option
from crawler.cli.status import nothing_yet
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line, shown
from crawler.runtime.signals import run
from crawler.views.figures import counted, lags, several

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.interfaces import Outbox
    from crawler.model import Job, OutboxEntry

CHUNK = 100  # pages in one read of a shard


def items(
    invocation: Invocation,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job; default: the only one.", show_default=False)] = "",
    spider: Annotated[str, option("--spider", metavar="NAME", help="Only the items of this spider.")] = "",
    limit: Annotated[int, option("--limit", min=1, metavar="N", help="Most items that are printed (10).")] = 10,
    count: Annotated[bool, flag("--count", help="Count them by spider instead.")] = False,
    json_: Json = False,
) -> int:
    """Print the next items that wait to be written, one JSON object per line, and say how many pages wait for which
    output.

    crawler items shop --count
    """
    config = config_of(invocation)
    if note := nothing_yet(config):
        if count and json_:
            print("{}")
        advise(note, quiet=invocation.quiet)
        return 0
    said = run(_items(config, job, spider, 0 if count else limit, as_json=json_))
    advise(said, quiet=invocation.quiet)
    return 0


async def _items(config: Config, name: str, spider: str, limit: int, *, as_json: bool) -> str:
    """Print the items, and return what to say of those that wait."""
    from crawler.app.connect import connect
    from crawler.app.jobs import job_named

    async with connect(config) as connected:
        job = await job_named(connected.jobs, name, f"{PROGRAM} items JOB")
        waiting = _of(spider, _waiting(connected.outbox, job))
        if limit:
            await _print_first(waiting, limit)
        else:
            await _print_counts(waiting, as_json=as_json)
        stats = await connected.reading.stats(job)
    said = f"job {shown(job.name)}: items of {several(stats.outbox, 'page')} wait to be written"
    return "\n".join([said, *lags(stats)])


async def _waiting(outbox: Outbox, job: Job) -> AsyncIterator[OutboxEntry]:
    """Yield what is in the outbox."""
    positions: dict[int, str] = {}
    while entries := await outbox.read(job, positions, CHUNK):
        for entry in entries:
            yield entry
            positions[entry.shard] = entry.position


async def _of(spider: str, entries: AsyncIterator[OutboxEntry]) -> AsyncIterator[OutboxEntry]:
    async for entry in entries:
        if spider in ("", entry.spider):
            yield entry


async def _print_first(entries: AsyncIterator[OutboxEntry], limit: int) -> None:
    async for entry in entries:
        for item in entry.items[:limit]:
            print(item.decode())
        limit -= len(entry.items)
        if limit <= 0:
            return


async def _print_counts(entries: AsyncIterator[OutboxEntry], *, as_json: bool) -> None:
    from crawler.cli import tables

    found: Counter[str] = Counter()
    async for entry in entries:
        found[entry.spider] += len(entry.items)
    if as_json:
        print(json_line(dict(found)))
    elif found:
        rows = ((spider, counted(number)) for spider, number in found.most_common())
        tables.console().print(tables.table(("spider", "items"), rows, numbers=("items",)))
