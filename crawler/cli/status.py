"""`status` and `jobs`: what is there, who works on it, and why nothing happens when nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from crawler.cli.options import Call, Json, config_of, flag
from crawler.errors import FrontierReplaced, FrontierUnavailable, UsageError
from crawler.runtime.safe_text import json_line

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.app.connect import Connected
    from crawler.status import JobStats, WorkerInfo

T = TypeVar("T")


def status(
    call: Call,
    watch: Annotated[bool, flag("--watch", help="Look again every second, until Ctrl-C.")] = False,
    json_: Json = False,
) -> int:
    """Show all jobs and workers, and why a job does not move."""
    config = config_of(call)
    if note := nothing_yet(config):
        print(json_line({"server": None, "jobs": [], "workers": []}) if json_ else note)
        return 0
    return asyncio.run(_status(config, watch=watch, as_json=json_))


def nothing_yet(config: Config) -> str:
    """What to say instead of starting an embedded server that has nothing to tell; empty: it has."""
    from crawler.app.config import data_dir
    from crawler.cli.embedded import has_data, is_running

    if config.settings.REDIS_URL or is_running(config) or has_data(config):
        return ""
    return (
        f"no jobs yet: no embedded queue server has run for {config.folder} (data in {data_dir(config)}).\n"
        "Start a crawl with: crawler crawl URL; or set REDIS_URL to look at another server."
    )


async def _status(config: Config, *, watch: bool, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables

    async with connect(config) as connected:
        if watch:
            await _watch(connected, as_json=as_json)
        stats, workers = await _look(connected)
        if as_json:
            print(json_line(as_data(stats, workers, connected.url)))
        else:
            tables.console().print(tables.status_view(stats, workers, connected.url))
    return 0


async def _watch(connected: Connected, *, as_json: bool) -> None:
    """Until Ctrl-C, which ends the command. A queue server that goes away is waited for."""
    from rich.live import Live

    from crawler.cli import tables

    if as_json:
        while True:
            print(json_line(await _look_or_say(connected, as_data, _away_data)), flush=True)
            await asyncio.sleep(1.0)
    with Live(console=tables.console(), auto_refresh=False) as live:
        while True:
            live.update(await _look_or_say(connected, tables.status_view, tables.away_view), refresh=True)
            await asyncio.sleep(1.0)


async def _look_or_say(connected: Connected, show: Callable[..., T], sorry: Callable[[str, str], T]) -> T:
    """What there is to see, or that the server is away (or has come back empty, and is looked at anew)."""
    try:
        return show(*await _look(connected), connected.url)
    except (FrontierUnavailable, FrontierReplaced) as error:
        if isinstance(error, FrontierReplaced):
            await _reopen(connected)
        return sorry(str(error), connected.url)


async def _reopen(connected: Connected) -> None:
    with suppress(FrontierUnavailable):
        await connected.frontier.open()


def _away_data(why: str, url: str) -> dict[str, Any]:
    from crawler.runtime.safe_text import without_password

    return {"server": without_password(url), "error": why, "jobs": [], "workers": []}


async def _look(connected: Connected) -> tuple[list[JobStats], list[WorkerInfo]]:
    frontier = connected.frontier
    stats = [await frontier.stats(job) for job in await frontier.jobs()]
    return stats, await frontier.workers()


def as_data(stats: list[JobStats], workers: list[WorkerInfo], url: str) -> dict[str, Any]:
    """The same for scripts."""
    import msgspec

    from crawler.runtime.safe_text import without_password
    from crawler.views.figures import spiders_missing, why_idle

    jobs = [
        {**msgspec.to_builtins(one), "idle": why_idle(one, workers), "no_spider": spiders_missing(one, workers)}
        for one in stats
    ]
    return {"server": without_password(url), "jobs": jobs, "workers": msgspec.to_builtins(workers)}


def jobs(
    call: Call,
    action: Annotated[Literal["list", "delete"], typer.Argument(help="What to do.")] = "list",
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Jobs to delete.")] = None,
    json_: Json = False,
) -> int:
    """List the jobs, or delete some with all their state: crawler jobs delete NAME"""
    if (action == "delete") != bool(names):
        raise UsageError("name the jobs to delete: crawler jobs delete NAME; plain `crawler jobs` lists them")
    config = config_of(call)
    if action == "list":
        return asyncio.run(_list(config, as_json=json_))
    return asyncio.run(_delete(config, names or []))


async def _list(config: Config, *, as_json: bool) -> int:
    from crawler.app.connect import connect
    from crawler.cli import tables

    async with connect(config) as connected:
        stats, _ = await _look(connected)
        if as_json:
            print(json_line(as_data(stats, [], connected.url)["jobs"]))
        else:
            tables.console().print(tables.jobs_table(stats) if stats else "no jobs")
    return 0


async def _delete(config: Config, names: list[str]) -> int:
    from crawler.app.connect import connect

    async with connect(config) as connected:
        known = [job.name for job in await connected.frontier.jobs()]
        for name in names:
            # one whose record cannot be read is not among them
            if name not in known and not await connected.frontier.delete_job(name):
                raise UsageError(f"no job is named {name!r}; there are: {', '.join(known) or 'none'}")
        for name in names:
            await connected.frontier.delete_job(name)
            print(f"deleted job {name}")
    return 0
