"""The backend of a URL, and what is known of it before it is opened."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import connect, order_of
from crawler.embedded import server as embedded
from crawler.errors import ConfigError, UsageError
from crawler.frontier.rules import LARGE_BYTES
from crawler.interfaces import Capabilities
from crawler.settings import Settings
from tests.ports import free_port
from tests.valkey import Valkey


def config(url: str) -> Config:
    return Config(Settings(REDIS_URL=url), {}, Path())


async def test_memory_is_one_processs_own_and_nobody_warns_that_it_forgets() -> None:
    with pytest.raises(UsageError, match=r"lives in one process.*use `crawler crawl`"):
        async with connect(config("memory://")):
            pass
    with capture_logs() as logs:
        async with connect(config("memory://"), alone=True) as connected:
            assert connected.capabilities == Capabilities(shared=False, durable=False)
    assert logs == []


async def test_a_server_is_shared_and_should_keep_its_data() -> None:
    with Valkey() as server, capture_logs() as logs:
        async with connect(config(server.url)) as connected:
            assert connected.capabilities == Capabilities(shared=True, durable=True)
    assert [line["event"] for line in logs] == ["no_append_only_file"]


async def test_a_large_server_with_the_c_librarys_allocator_is_told_of() -> None:
    with Valkey(appendonly=True) as server, Redis.from_url(server.url) as client, capture_logs() as logs:
        async with connect(config(server.url)):
            pass
        assert logs == []
        client.set("large", bytes(LARGE_BYTES))
        async with connect(config(server.url)):
            pass
    assert [line["event"] for line in logs] == ["slow_allocator"]
    assert "built with jemalloc" in logs[0]["then"]


@pytest.mark.skipif(sys.platform != "linux", reason="the loader of Linux")
@pytest.mark.parametrize("has_allocator", [True, False])
async def test_a_large_embedded_server_without_an_allocator_is_told_of(
    has_allocator: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_allocator:
        monkeypatch.setattr(embedded, "allocator_for", lambda _: "")
    crawl = Config(Settings(DATA_DIR=str(tmp_path)), {}, tmp_path)
    with capture_logs() as logs:
        async with connect(crawl) as connected:
            with Redis.from_url(connected.url) as client:
                client.set("large", bytes(LARGE_BYTES))
            async with connect(crawl):
                pass
    assert [line["event"] for line in logs] == ([] if has_allocator else ["slow_allocator"])
    assert all("install libjemalloc2" in line["then"] for line in logs)


async def test_a_command_makes_one_connection_and_needs_few_round_trips_to_begin() -> None:
    """Those of a far server are most of what a short command takes. The library alone sends five."""
    with Valkey(tcp=True, appendonly=True) as server, Redis.from_url(server.url) as client:
        await _opened(server.url)
        before = client.info("stats")
        await _opened(server.url)
        after = client.info("stats")
    assert after["total_connections_received"] - before["total_connections_received"] == 1
    assert after["total_commands_processed"] - before["total_commands_processed"] <= 5 + 8 + 2  # 2 inside of scripts


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "a.example:6379",
            r"expected redis://, rediss://, unix://, redis\+sentinel://, redis\+cluster:// or memory://, for example redis://",
        ),
        ("reddis://a.example", r"did you mean redis://\?"),
        ("rediss//a.example", r"did you mean rediss://\?"),
        ("redis:6379", r"did you mean redis://\?"),
        ("unix:/run/valkey.sock", r"did you mean unix://\?"),
        ("REDIS://a.example", r"did you mean redis://\?"),
        ("valkyes://me:geheim@a.example", r"did you mean valkeys://\?"),
        ("redis-sentinel://me:geheim@a.example/shop", r"did you mean redis\+sentinel://\?"),
        ("redis_cluster://me:geheim@a.example", r"did you mean redis\+cluster://\?"),
        ("memory2://", r"did you mean memory://\?"),
        *(
            (
                f"{scheme}://me:geheim@a.example/v?queue=urls",
                r"RabbitMQ cannot keep a crawl: .* crawler seed --from 'amqp://…\?queue=NAME', .* -o 'amqp://…\?exchange=",
            )
            for scheme in ("amqp", "amqps", "pyamqp", "librabbitmq", "AMQP", "rabbitmq")
        ),
    ],
)
async def test_another_scheme_is_refused_with_the_one_that_is_meant(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        async with connect(config(url)):
            pass
    assert "geheim" not in str(refused.value)
    assert refused.value.exit_code == 78


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
        async with connect(config(url), alone=True):
            pass


@pytest.mark.parametrize(
    ("number", "is_node", "why"),
    [
        (99, False, "no database of this number"),
        (0, True, "one node of a cluster"),
        (1, True, "no database of this number"),
    ],
)
async def test_a_server_that_cannot_hold_a_crawl_is_a_bad_configuration(number: int, is_node: bool, why: str) -> None:
    options = {"cluster-enabled": "yes", "cluster-port": str(free_port())} if is_node else {}
    with Valkey(tcp=True, options=options) as server, pytest.raises(ConfigError, match=why):
        await _opened(f"redis://127.0.0.1:{server.port}/{number}")


async def test_a_command_waits_for_a_server_that_is_full_from_the_start() -> None:
    with Valkey(options={"maxmemory": "1"}) as server, capture_logs() as logs:
        opened = asyncio.create_task(_opened(server.url))
        await asyncio.wait({opened}, timeout=0.3)
        assert [line["event"] for line in logs] == ["queue_server_full"]
        set_maxmemory(server, 0)
        await opened
    assert logs[1]["event"] == "queue_server_full_over"


async def test_a_full_server_with_a_frontier_is_looked_at_without_waiting() -> None:
    with Valkey() as server:
        await _opened(server.url)
        set_maxmemory(server, 1)
        async with connect(config(server.url)) as connected:
            assert await connected.jobs.all() == []


def set_maxmemory(server: Valkey, limit: int) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", limit)


async def _opened(url: str) -> None:
    async with connect(config(url)):
        pass
