"""`status` and `jobs`: the jobs, their workers, and why a job is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from msgspec.structs import replace

from crawler.cli.options import Invocation, Json, config_of, flag
from crawler.errors import FrontierReplaced, FrontierUnavailable, UsageError
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line
from crawler.views.job_names import no_job

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crawler.app.config import Config
    from crawler.interfaces import Backend, Reading, SharedValues
    from crawler.model import Job
    from crawler.status import JobStats, WorkerInfo

T = TypeVar("T")


def status(
    invocation: Invocation,
    watch: Annotated[bool, flag("--watch", help="Refresh every second, until Ctrl-C.")] = False,
    json_: Json = False,
) -> int:
    """Show all jobs and workers, and why a job makes no progress."""
    config = config_of(invocation)
    if note := nothing_yet(config):
        print(json_line({"server": None, "jobs": [], "workers": []}) if json_ else note)
        return 0
    return asyncio.run(_status(config, watch=watch, as_json=json_))


def nothing_yet(config: Config) -> str:
    """Return what to print instead of starting an embedded server without data; empty if there is a server to ask."""
    from crawler.app.config import data_dir
    from crawler.app.connect import has_server

    if has_server(config):
        return ""
    return (
        f"no jobs yet: no embedded queue server has run for {config.folder} (data in {data_dir(config)}).\n"
        f"Start a crawl with: {PROGRAM} crawl URL; or set REDIS_URL to look at another server."
    )


async def _status(config: Config, *, watch: bool, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables

    if watch:
        await _watch(config, as_json=as_json)
    async with connect(config) as connected:
        if as_json:
            print(json_line(await _data(connected, config)))
        else:
            tables.console().print(await _view(connected))
    return 0


async def _watch(config: Config, *, as_json: bool) -> None:
    """Show the status every second until Ctrl-C ends the command."""
    from rich.live import Live

    from crawler.cli import tables

    if as_json:
        data = partial(_data, config=config)
        await _look_for_ever(config, data, _away_data, lambda seen: print(json_line(seen), flush=True))
    with Live(console=tables.console(), auto_refresh=False) as live:
        await _look_for_ever(config, _view, tables.away_view, partial(live.update, refresh=True))


async def _look_for_ever(
    config: Config,
    see: Callable[[Backend], Awaitable[T]],
    sorry: Callable[[str, str], T],
    tell: Callable[[T], None],
) -> None:
    """Show the status every second; wait out an outage, and reconnect to a server that returns empty."""
    from crawler.app.connect import connect

    async with AsyncExitStack() as stack:
        connected = await stack.enter_async_context(connect(config))
        while True:
            try:
                tell(await see(connected))
            except (FrontierUnavailable, FrontierReplaced) as error:
                tell(sorry(str(error), connected.url))
                if isinstance(error, FrontierReplaced):
                    with suppress(FrontierUnavailable):
                        connected = await stack.enter_async_context(connect(config, warn=False))
            await asyncio.sleep(1.0)


def _away_data(why: str, url: str) -> dict[str, Any]:
    from crawler.runtime.safe_text import without_password

    return {"server": without_password(url), "error": why, "jobs": [], "workers": []}


async def _view(connected: Backend) -> RenderableType:
    from crawler.cli import tables

    stats = [await _stats(connected.reading, connected.asking, job) for job in await connected.jobs.all()]
    waits = await connected.reading.waits_for()
    return tables.status_view(stats, await connected.reading.workers(), connected.url, waits)


async def _stats(reading: Reading, shared: SharedValues, job: Job) -> JobStats:
    from crawler.seeding.backlogs import reported

    stats = await reading.stats(job)
    return replace(stats, source=await reported(shared, job)) if stats.seeding else stats


async def _data(connected: Backend, config: Config) -> dict[str, Any]:
    """Return the same figures as JSON data, for scripts, with the result of each job."""
    import msgspec

    from crawler.runtime.safe_text import without_password
    from crawler.views.figures import routes_differ

    workers = await connected.reading.workers()
    jobs = [await _job_data(connected, config, job, workers) for job in await connected.jobs.all()]
    return {
        "server": without_password(connected.url),
        "waits_for": await connected.reading.waits_for(),
        "jobs": jobs,
        "workers": msgspec.to_builtins(workers),
        "routes_differ": routes_differ(workers),
    }


async def _job_data(connected: Backend, config: Config, job: Job, workers: list[WorkerInfo]) -> dict[str, Any]:
    import msgspec

    from crawler.app.results import result_from
    from crawler.status import OWN
    from crawler.views.coverage import as_data
    from crawler.views.figures import group, spiders_missing, why_idle
    from crawler.views.losses import told

    stats = await _stats(connected.reading, connected.asking, job)
    result = await result_from(connected.letters, job, stats, workers, strict=config.settings.STRICT)
    return {
        **msgspec.to_builtins(stats),
        "result": msgspec.to_builtins(result),
        "idle": why_idle(stats, workers),
        "no_spider": spiders_missing(stats, workers),
        "own": group(stats.counters, OWN),
        "losses": msgspec.to_builtins(told(stats)),
        "coverage": as_data(await connected.reading.coverage(job)),
    }


def jobs(
    invocation: Invocation,
    action: Annotated[Literal["list", "delete"], typer.Argument(help="list, or delete NAME...")] = "list",
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Jobs to delete.")] = None,
    force: Annotated[bool, flag("--force", help="Delete a job even with items that no export has written.")] = False,
    json_: Json = False,
) -> int:
    """List the jobs, or delete jobs with all their state.

    crawler jobs
    crawler jobs delete NAME
    """
    if action == "list" and names:
        raise UsageError(f"{PROGRAM} jobs list takes no names; it lists all jobs")
    if action == "delete" and not names:
        raise UsageError(f"name the jobs to delete: {PROGRAM} jobs delete NAME; plain `{PROGRAM} jobs` lists them")
    config = config_of(invocation)
    if action == "list":
        return asyncio.run(_list(config, as_json=json_))
    return asyncio.run(_delete(config, names or [], force=force, as_json=json_))


async def _list(config: Config, *, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables

    async with connect(config) as connected:
        if as_json:
            print(json_line((await _data(connected, config))["jobs"]))
        else:
            stats = [await _stats(connected.reading, connected.asking, job) for job in await connected.jobs.all()]
            tables.console().print(tables.jobs_table(stats) if stats else "no jobs")
    return 0


async def _delete(config: Config, names: list[str], *, force: bool, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.app.jobs import delete_job

    async with connect(config) as connected:
        known = [job.name for job in await connected.jobs.all()]
        # `known` leaves out jobs whose record cannot be read. A name that is not in it goes first: if it names no job
        # at all, the command ends before it has deleted another.
        for name in sorted(names, key=known.__contains__):
            if not await delete_job(connected.jobs, connected.reading, name, force=force):
                raise UsageError(no_job(name, known))
            print(json_line({"deleted": name}) if as_json else f"deleted job {name}")
    return 0
