"""Each process has one connection to the queue server, and none from before a fork."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from crawler.celery.client import Client
from crawler.errors import FrontierReplaced
from crawler.interfaces import Backend
from tests.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]

PREFORK = """
import os, sys
from pathlib import Path
from crawler.celery.client import client

async def name(connected):
    return await connected.store.at("").client_id()

before = client(Path(".")).run(name)
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0, "the child has failed"
    assert client(Path(".")).run(name) == before, "the parent keeps its connection"
else:
    os._exit(client(Path(".")).run(name) == before)
"""


def settings(folder: Path, server: Valkey) -> None:
    (folder / "settings.py").write_text(f"REDIS_URL = {server.url!r}\nKEY_PREFIX = {folder.name!r}\n")


def test_a_child_of_a_fork_makes_a_connection_of_its_own(tmp_path: Path, valkey_server: Valkey) -> None:
    settings(tmp_path, valkey_server)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREFORK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr.decode()


def test_a_replaced_server_is_connected_to_anew(tmp_path: Path, valkey_server: Valkey) -> None:
    settings(tmp_path, valkey_server)
    client, seen = Client(tmp_path), []

    async def look(connected: Backend) -> None:
        seen.append(connected)
        if len(seen) == 2:
            raise FrontierReplaced("emptied")

    client.run(look)
    try:
        client.run(look)
    except FrontierReplaced:
        pass
    client.run(look)
    client.close()
    assert seen[0] is seen[1] is not seen[2]


def test_who_learns_late_of_a_replaced_server_leaves_the_new_connection_alone(
    tmp_path: Path, valkey_server: Valkey
) -> None:
    settings(tmp_path, valkey_server)
    client, seen = Client(tmp_path), []

    async def look(connected: Backend) -> None:
        seen.append(connected)

    async def fail(connected: Backend) -> None:
        raise FrontierReplaced("emptied")

    async def fail_late(connected: Backend) -> None:
        with pytest.raises(FrontierReplaced):
            await asyncio.to_thread(client.run, fail)
        await asyncio.to_thread(client.run, look)
        raise FrontierReplaced("emptied")

    with pytest.raises(FrontierReplaced):
        client.run(fail_late)
    client.run(look)
    client.close()
    assert seen[0] is seen[1]
