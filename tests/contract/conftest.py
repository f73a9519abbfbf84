"""Fixtures of the contract suite: every test runs once for each kind of frontier."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.world import KINDS, Crawl, World
from tests.valkey import Valkey


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, valkey_server: Valkey) -> AsyncIterator[World]:
    """An empty frontier's world."""
    made = World(request.param, valkey_server)
    yield made
    await made.close()


@pytest.fixture
async def crawl(world: World) -> Crawl:
    """A new job in it."""
    return await Crawl.create(world)
