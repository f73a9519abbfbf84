"""Runs the contract of all backends against those that the crawler includes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from crawler.testing.contract import *  # noqa: F403 - as another project does
from crawler.testing.contract.world import World
from tests.contract.world import KINDS, ClusterWorld, SentinelWorld
from tests.valkey import Valkey


@pytest.fixture(params=[*KINDS, "sentinel", "cluster"])
def new_world(request: pytest.FixtureRequest, valkey_server: Valkey) -> Callable[[], World]:
    """The class that makes empty worlds, also of several servers."""
    if request.param == "sentinel":
        return partial(SentinelWorld, request.getfixturevalue("sentinel_fleet"))
    if request.param == "cluster":
        return partial(ClusterWorld, request.getfixturevalue("cluster_fleet"))
    return partial(KINDS[request.param], valkey_server)
