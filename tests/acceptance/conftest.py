"""Fixtures of the acceptance suite: working directories, a queue server, a site to crawl."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.acceptance.shell import Shell
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty working directory; its path is short, for the socket in it."""
    return tmp_path_factory.mktemp("p")


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A server that keeps its data: without that every command warns."""
    with Valkey(appendonly=True, fsync="everysec") as running:
        yield running


@pytest.fixture
def shell(folder: Path, server: Valkey) -> Shell:
    """Commands on one server, with keys of their own."""
    return Shell(folder, {"REDIS_URL": server.url, "CRAWLER_KEY_PREFIX": folder.name})


@pytest.fixture
def bare(folder: Path) -> Shell:
    """Commands without any server set."""
    return Shell(folder, {})


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    """Forty pages on two hosts."""
    async with serve(Site(pages=40, hosts=2, seed=1)) as running:
        yield running
