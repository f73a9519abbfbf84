"""Schedules as people use them: the commands, real crawls, and schedulers that are killed while they crawl."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.schedules.timetable import Timetable
from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.clock import Clock, needs_clock
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve, slow

NOON = 1_795_950_000  # 2026-11-29 11:00 UTC, 12:00 in Berlin
QUARTER = 900
PAGE = (ROOT / "docs/schedules.md").read_text()


@pytest.fixture
def clock(folder: Path) -> Clock:
    """Of the queue server."""
    return Clock(folder, NOON + 1)


@pytest.fixture
def moved(folder: Path, clock: Clock) -> Iterator[Shell]:
    """Commands on a server with that clock."""
    with Valkey(appendonly=True, fsync="everysec", environment=clock.environment) as server:
        settings = {"ALLOWED_NETWORKS": "127.0.0.0/8", "DOWNLOAD_DELAY": "0", "PROCESSES": "1", "LEASE_SECONDS": "1"}
        environment = {f"CRAWLER_{name}": value for name, value in settings.items()}
        yield Shell(folder, {"REDIS_URL": server.url, **environment})


@contextlib.asynccontextmanager
async def scheduler(shell: Shell) -> AsyncIterator[None]:
    """A scheduler at work, which is stopped at the end."""
    process = await shell.start("schedule", "run", stdout=asyncio.subprocess.DEVNULL)
    assert process.stderr is not None
    await process.stderr.readuntil(b'"scheduling"')
    reading = asyncio.create_task(process.stderr.read())
    try:
        yield
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await process.wait() in (0, -signal.SIGKILL), await reading
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def listed(shell: Shell) -> dict[str, Any]:
    """The only schedule, as programs see it."""
    (one,) = json.loads((await shell.run("schedule", "list", "--json")).out)
    return dict(one)


async def until_ended(shell: Shell, runs: int) -> Timetable:
    """Wait for the end of that many runs of the only schedule."""
    async with open_redis(Server(shell.environment["REDIS_URL"]), prefix="crawler", shards=1) as backend:
        while True:
            (table,) = await backend.schedules.all()
            if len(table.ends) >= runs:
                return table
            await asyncio.sleep(0.02)


def pages(path: Path) -> list[str]:
    return [json.loads(line)["url"] for line in path.read_text().splitlines()]


@needs_clock
async def test_the_page_shows_what_list_prints(moved: Shell, clock: Clock) -> None:
    made = Site(pages=5, hosts=1, seed=1)
    async with serve(made):
        (url,) = made.seeds
        crawl = ("crawl", url, "-O", "news.jsonl")
        added = await moved.run("schedule", "add", "news", "*/15 * * * *", "--tz", "Europe/Berlin", "--", *crawl)
        assert added.out.startswith("schedule news: next 2026-11-29 12:15 +0100; it needs a scheduler: ")
        async with scheduler(moved):
            clock.set(NOON + QUARTER)
            await until_ended(moved, 1)
        clock.set(NOON + 4 * QUARTER)
        async with scheduler(moved):
            await until_ended(moved, 2)
        shown = (await moved.run("schedule", "list")).out
        said = "\n".join(line.rstrip() for line in shown.replace(url, "https://a.example/").splitlines())
        said = re.sub(r"ended after [\d.]+ s", "ended after 4.2 s", said)
        assert said in PAGE
        assert sorted(pages(moved.folder / "news.jsonl")) == sorted(made.truth())


@needs_clock
async def test_a_run_whose_scheduler_is_killed_goes_on_with_another(moved: Shell, clock: Clock) -> None:
    made = Site(pages=30, hosts=1, seed=1)
    made.on("", slow(0.1))
    async with serve(made) as site, contextlib.AsyncExitStack() as stack:
        await moved.run("schedule", "add", "news", "*/15 * * * *", "--", "crawl", *site.seeds)
        for _ in range(2):
            await stack.enter_async_context(scheduler(moved))
        clock.set(NOON + QUARTER)
        await site.until(5)
        (run,) = (await listed(moved))["runs"]
        os.kill(int(run["scheduler"].split(":")[1]), signal.SIGKILL)
        table = await until_ended(moved, 1)
        assert [(end.tick, end.code) for end in table.ends] == [(NOON + QUARTER, 0)]
        assert (await listed(moved))["last_result"]["state"] == "SUCCESS"
        assert sorted(pages(moved.folder / "news-20261129T1115Z.jsonl")) == sorted(made.truth())


async def test_run_name_runs_it_now_and_ends_with_its_exit_code(shell: Shell, site: Running) -> None:
    added = await shell.run("schedule", "add", "news", "@yearly", "--", "crawl", *site.seeds, "-O", "news.jsonl")
    assert added.code == 0
    ended = await shell.run(*LOCAL, "schedule", "run", "news")
    assert ended.code == 0, ended.err
    assert len(set(pages(shell.folder / "news.jsonl"))) == 40
