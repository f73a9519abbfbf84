"""Fixtures of the contract suite: every test runs once for each kind of backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from crawler.testing.contract.world import World, crawl, world
from tests.contract.world import KINDS
from tests.valkey import Valkey

__all__ = ["crawl", "new_world", "world"]


@pytest.fixture(params=KINDS)
def new_world(request: pytest.FixtureRequest, valkey_server: Valkey) -> Callable[[], World]:
    """The class that makes empty worlds."""
    return partial(KINDS[request.param], valkey_server)
