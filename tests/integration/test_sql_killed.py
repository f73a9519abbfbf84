"""Exporters and database servers killed again and again while items leave the outbox: each row is there once.

KILLS=100 makes it the long form.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crawler.export.exporter import Exporter
from crawler.export.sinks.in_thread import InThread
from crawler.export.sinks.sql.address import read
from crawler.export.sinks.sql.postgres import Postgres
from crawler.export.sinks.sql.sink import Database, SqlSink
from crawler.export.sinks.sql.sqlite import Sqlite
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Done, Job, Request, Visit
from tests.postgres import Postgres as PostgresServer
from tests.postgres import needs_postgres
from tests.valkey import Valkey

KILLS = int(os.environ.get("KILLS", "3"))
PAGES, ITEMS, BATCH = 60 * KILLS, 3, 2
PACE = Pace(delay=0.0, concurrency=1_000_000)
ALL = list(range(PAGES * ITEMS))

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with Valkey() as running:
        yield running


@pytest.fixture
async def frontier(server: Valkey) -> AsyncIterator[Backend]:
    async with open_redis(Server(server.url)) as frontier:
        yield frontier


async def with_items(frontier: Backend, name: str) -> Job:
    """A job whose outbox has the items of all pages."""
    job = await frontier.jobs.create(Job(name))
    for start in range(0, PAGES, 1000):
        requests = [Request(f"http://{name}.example/{n}") for n in range(start, min(start + 1000, PAGES))]
        await frontier.adding.add(job, requests, seed=True)
    page = 0
    while leases := (await frontier.queue.claim("w1", 500, [job], PACE)).leases:
        visits = []
        for lease in leases:
            items = tuple(b'{"n":%d,"t":"x"}' % (page * ITEMS + n) for n in range(ITEMS))
            visits.append((lease, Visit(Done(), items=items)))
            page += 1
        assert all(await frontier.queue.commit("w1", visits, PACE))
    assert page == PAGES
    return job


def database(where: str) -> Database:
    if "://" in where:
        return Postgres(*read(where), "killed")
    return Sqlite(Path(where))


async def export(frontier: Backend, job: Job, where: str, *, patient: bool = False) -> None:
    """What `crawler export` does, two pages at a time."""
    sink = InThread(SqlSink(database(where), "items", job.epoch))
    await Exporter(
        frontier.jobs.all, frontier.outbox, [sink], job, name="x", batch=BATCH, lease_seconds=60, patient=patient
    ).run(asyncio.Event())


def in_process(url: str, job: Job, where: str, patient: bool) -> None:
    async def main() -> None:
        async with open_redis(Server(url)) as frontier:
            await export(frontier, job, where, patient=patient)

    asyncio.run(main())


def started(*arguments: Any) -> Any:
    process = processes.Process(target=in_process, args=arguments)
    process.start()
    return process


async def killed(server: Valkey, job: Job, where: str, numbers: Callable[[], list[int]]) -> int:
    """Kill exporters as soon as they have written some more. Return how many died at it."""
    kills = 0
    while kills < KILLS:
        before = len(numbers())
        process = started(server.url, job, where, False)
        enough = min(before + random.randrange(1, 30), PAGES * ITEMS)
        while process.is_alive() and len(await asyncio.to_thread(numbers)) < enough:
            pass
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        kills += 1
    return kills


def in_sqlite(path: Path) -> list[int]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        try:
            return sorted(n for (n,) in connection.execute("SELECT n FROM items"))
        except sqlite3.OperationalError:  # no table yet
            return []


def in_postgres(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        try:
            return sorted(n for (n,) in connection.execute("SELECT n FROM items"))
        except psycopg.errors.UndefinedTable:
            return []


async def test_exporters_to_sqlite_killed(server: Valkey, frontier: Backend, tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    job = await with_items(frontier, "sqlite")
    kills = await killed(server, job, str(path), lambda: in_sqlite(path))
    await export(frontier, job, str(path))
    assert in_sqlite(path) == ALL
    assert (await frontier.reading.stats(job)).outbox == 0
    assert kills == KILLS


@needs_postgres
async def test_exporters_to_postgresql_killed(server: Valkey, frontier: Backend) -> None:
    job = await with_items(frontier, "exporters")
    with PostgresServer() as database:
        where = f"{database.url}?table=items"
        kills = await killed(server, job, where, lambda: in_postgres(database.url))
        await export(frontier, job, where)
        assert in_postgres(database.url) == ALL
    assert (await frontier.reading.stats(job)).outbox == 0
    assert kills == KILLS


@needs_postgres
async def test_a_database_server_killed_under_a_patient_exporter(server: Valkey, frontier: Backend) -> None:
    job = await with_items(frontier, "servers")
    with PostgresServer(fsync=True) as database:
        process = started(server.url, job, f"{database.url}?table=items", True)
        kills, before = 0, 0
        while kills < KILLS and process.is_alive():
            if len(now := in_postgres(database.url)) > before:
                database.kill()
                database.start()
                kills, before = kills + 1, len(now) + random.randrange(30)
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
        assert in_postgres(database.url) == ALL
    assert (await frontier.reading.stats(job)).outbox == 0
    assert kills == KILLS
