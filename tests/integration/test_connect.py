"""The backend of a URL, and what is known of it before it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import connect, needs_server, order_of
from crawler.errors import ConfigError, UsageError
from crawler.interfaces import Capabilities
from crawler.settings import Settings
from tests.valkey import Valkey


def config(url: str) -> Config:
    return Config(Settings(REDIS_URL=url), {}, Path())


async def test_memory_is_one_processs_own_and_nobody_warns_that_it_forgets() -> None:
    with pytest.raises(UsageError, match="`worker` would find nothing"):
        needs_server(config("memory://"), "worker")
    with capture_logs() as logs:
        async with connect(config("memory://")) as connected:
            assert connected.capabilities == Capabilities(shared=False, durable=False)
    assert logs == []


async def test_a_server_is_shared_and_should_keep_its_data() -> None:
    with Valkey() as server, capture_logs() as logs:
        needs_server(config(server.url), "worker")
        async with connect(config(server.url)) as connected:
            assert connected.capabilities == Capabilities(shared=True, durable=True)
    assert [line["event"] for line in logs] == ["no_append_only_file"]


@pytest.mark.parametrize("url", ["amqp://a.example/", "a.example:6379", "memory2://"])
async def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected redis://"):
        needs_server(config(url), "worker")
    with pytest.raises(ConfigError, match="expected redis://"):
        async with connect(config(url)):
            pass


def test_memory_can_be_depth_first() -> None:
    assert order_of(config("memory://?order=lifo&maxsize=9")) == "lifo"
    assert order_of(config("memory://")) == order_of(config("redis://a.example/?order=lifo")) == "fifo"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memory://?max=4", "takes maxsize and order, each once, and nothing else"),
        ("memory://?maxsize=4&maxsize=5", "each once"),
        ("memory://name", "nothing else"),
        ("memory://?maxsize=many", "maxsize must be a number"),
        ("memory://?order=random", "order must be fifo or lifo"),
    ],
)
async def test_an_option_of_memory_is_known_or_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        async with connect(config(url)):
            pass
