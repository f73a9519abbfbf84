"""An exporter killed before each change that it makes and around each answer of the server: each item is there once."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from crawler.export.exporter import Exporter
from crawler.export.sinks.declared import nothing
from crawler.export.sinks.encodings import JsonLines
from crawler.export.sinks.file import FileSink
from crawler.export.sinks.in_thread import InThread
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Done, Job, Request, Visit
from tests.valkey import Valkey

PACE = Pace(delay=0.0, concurrency=100)
PAGES, ITEMS = 4, 2
CHANGES = {"open", "flock", "fchmod", "write", "fdatasync", "fsync", "ftruncate", "replace", "unlink", "close"}
OLD = '{"old":1}\n'
EVERY = 3  # of the steps, one is tried; 1 tries them all, in two minutes

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
    """A job whose outbox has the items of a few pages."""
    job = await frontier.jobs.create(Job(name))
    await frontier.adding.add(job, [Request(f"http://{name}.example/{n}") for n in range(PAGES)], seed=True)
    leases = (await frontier.queue.claim("w1", PAGES, [job], PACE)).leases
    items = [tuple(b'{"n":%d}' % (page * ITEMS + n) for n in range(ITEMS)) for page in range(PAGES)]
    visits = [(lease, Visit(Done(), items=two)) for lease, two in zip(leases, items, strict=True)]
    assert all(await frontier.queue.commit("w1", visits, PACE))
    return job


async def export(frontier: Backend, job: Job, path: Path, **how: bool) -> None:
    """What `crawler export` does, two pages at a time."""
    sink = InThread(FileSink(path, job.epoch, JsonLines(), nothing, **how))
    await Exporter(
        frontier.jobs.all, frontier.outbox, [sink], job, name="x", batch=2, lease_seconds=60, patient=False
    ).run(asyncio.Event())


def until_killed(step: int, url: str, job: Job, path: Path, how: dict[str, bool]) -> None:
    """Export in this process, and kill it at a step."""
    steps = count(1)

    def watch(frame: FrameType, event: str, what: Any) -> None:
        calls_system = event == "c_call" and what.__name__ in CHANGES and "sinks" in frame.f_code.co_filename
        calls_server = event in ("call", "return") and frame.f_code.co_name == "acknowledge"
        if (calls_system or calls_server) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async def main() -> None:
        async with open_redis(Server(url)) as frontier:
            await export(frontier, job, path, **how)

    threading.setprofile(watch)
    sys.setprofile(watch)
    asyncio.run(main())


def killed_at(step: int, *arguments: Any) -> bool:
    """Export in another process; return whether it came to that step and was killed."""
    process = processes.Process(target=until_killed, args=(step, *arguments))
    process.start()
    process.join(30)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def numbers(*paths: Path) -> list[int]:
    return sorted(json.loads(line)["n"] for path in paths if path.exists() for line in path.read_text().splitlines())


@pytest.mark.parametrize("how", ["append", "overwrite", "rotated"])
async def test_killed_at_any_step_each_item_is_there_once(
    server: Valkey, frontier: Backend, tmp_path: Path, how: str
) -> None:
    path, moved = tmp_path / "items.jsonl", tmp_path / "items.1"
    for step in count(1 + ("append", "overwrite", "rotated").index(how) % EVERY, EVERY):
        job = await with_items(frontier, f"{how}{step}")
        if how == "overwrite":
            path.write_text(OLD)
        was_killed = killed_at(step, server.url, job, path, {how: True})
        if how == "overwrite" and was_killed and path.read_text() != OLD:
            assert numbers(path) == list(range(PAGES * ITEMS)), "only a whole file replaces the old one"
        if how == "rotated" and path.exists():
            path.rename(moved)
        await export(frontier, job, path, **{how: True})
        assert numbers(path, moved) == list(range(PAGES * ITEMS)), f"killed at step {step}"
        assert (await frontier.reading.stats(job)).outbox == 0
        assert not list(tmp_path.glob("*.part*"))
        for file in tmp_path.iterdir():
            file.unlink()
        if not was_killed:
            break
    assert step > 15
