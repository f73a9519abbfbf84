"""Runs the contract of all backends against those that the crawler includes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from crawler.testing.contract import *  # noqa: F403 - as another project does
from crawler.testing.contract.world import World
from tests.contract.world import KINDS, ClusterWorld, SentinelWorld
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet


@pytest.fixture(scope="module")
def sentinel_fleet() -> Iterator[SentinelFleet]:
    """One for all tests."""
    with SentinelFleet() as fleet:
        yield fleet


@pytest.fixture(scope="module")
def cluster_fleet() -> Iterator[ClusterFleet]:
    """One for all tests."""
    with ClusterFleet() as fleet:
        yield fleet


@pytest.fixture(params=[*KINDS, "sentinel", "cluster"])
def new_world(request: pytest.FixtureRequest, valkey_server: Valkey) -> Callable[[], World]:
    """The class that makes empty worlds, also of several servers."""
    if request.param == "sentinel":
        return partial(SentinelWorld, request.getfixturevalue("sentinel_fleet"))
    if request.param == "cluster":
        return partial(ClusterWorld, request.getfixturevalue("cluster_fleet"))
    return partial(KINDS[request.param], valkey_server)
