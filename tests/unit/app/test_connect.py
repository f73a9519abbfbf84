"""A new kind of backend is an entry of the table: nothing reads its URL as one of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.app import connect
from crawler.app.config import Config
from crawler.errors import ConfigError, FrontierUnavailable
from crawler.frontier.memory.backend import open_memory
from crawler.interfaces import Backend, Capabilities
from crawler.settings import Settings

URL = "mine://a.example/crawls"


@asynccontextmanager
async def open_mine(url: str, settings: Settings, capabilities: Capabilities) -> AsyncIterator[Backend]:
    """A backend that outlives the process, as far as it says."""
    if url != URL:
        raise FrontierUnavailable(f"nobody listens at {url}")
    async with open_memory(capabilities=capabilities) as backend:
        yield backend


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = connect._Kind(open_mine, check=str, check_replicas=connect._has_no_replicas)
    monkeypatch.setitem(connect._KINDS, "mine", kind)


def config(url: str = URL, replicas: int = 0) -> Config:
    return Config(Settings(REDIS_URL=url, REDIS_REPLICAS=replicas), {}, Path())


async def test_it_is_opened() -> None:
    connect.check_server(config().settings)
    with capture_logs() as logs:
        async with connect.connect(config()) as connected:
            assert connected.capabilities == Capabilities()
    assert [line["event"] for line in logs] == ["no_append_only_file"], "what the backend itself says"
    assert connect.order_of(config()) == "fifo"


async def test_its_outage_and_its_refusal_are_its_own() -> None:
    with pytest.raises(FrontierUnavailable, match="nobody listens at mine://b"):
        async with connect.connect(config("mine://b")):
            pass
    with pytest.raises(ConfigError, match=r"REDIS_REPLICAS=1: mine://a.example/crawls has no replicas"):
        connect.check_server(config(replicas=1).settings)
