"""Each server that `REDIS_URL` cannot mean: what a person is told to write, and the exit code.

The forms of URLs that are wrong by themselves stand in tests/unit/frontier/test_address.py.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.errors import CrawlerError
from crawler.settings import Settings
from tests.tls_proxy import tls_before
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet, ask

PASSWORD = "geheim"


@pytest.fixture(scope="module")
def plain() -> Iterator[Valkey]:
    with Valkey(tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def locked() -> Iterator[Valkey]:
    with Valkey(tcp=True, options={"requirepass": PASSWORD}) as server:
        yield server


@asynccontextmanager
async def secured(server: Valkey, name: str) -> AsyncIterator[int]:
    """TLS before the server, with a certificate of an unknown authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert(name).configure_cert(context)
    async with tls_before(server, context) as port:
        yield port


@asynccontextmanager
async def web() -> AsyncIterator[int]:
    """A web server."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        yield int(listening.sockets[0].getsockname()[1])


async def check(url: str, code: int, why: str) -> None:
    """See that opening it fails with this exit code, and that this is what a person is told."""
    settings = Settings(REDIS_URL=url, REDIS_TIMEOUT=1.0, ACCEPT_LOSS=True)
    with pytest.raises(CrawlerError) as refused:
        async with connect(Config(settings, {}, Path())):
            pass
    text = str(refused.value)
    assert refused.value.exit_code == code, text
    assert re.search(why, text), text
    assert PASSWORD not in text


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("redis://127.0.0.1:{locked}/0", 78, r"requires a password: REDIS_URL=redis://:PASSWORD@"),
        ("redis://:wrong@127.0.0.1:{locked}/0", 78, r":\*\*\*@.* rejected the user name or password; check REDIS_URL"),
        ("redis://nobody:geheim@127.0.0.1:{locked}/0", 78, r"nobody:\*\*\*@.* rejected the user name or password"),
        ("redis://127.0.0.1:{plain}/99", 78, "no database of this number; end REDIS_URL with /0"),
        ("rediss://127.0.0.1:{plain}/0", 78, r"127.0.0.1:\d+ speaks no TLS; write redis:// instead of rediss://"),
        ("redis://127.0.0.1:{tls}/0", 78, r"127.0.0.1:\d+ speaks TLS; write rediss:// instead of redis://"),
        (
            "redis://127.0.0.1:{web}/0",
            78,
            r"no Redis or Valkey server listens at 127.0.0.1:\d+; who does says 'HTTP/1.1 400",
        ),
        (
            "rediss://127.0.0.1:{web}/0",
            78,
            r"no Redis or Valkey server listens at 127.0.0.1:\d+; who does says 'HTTP/1.1 400",
        ),
        ("redis://127.0.0.1:{nobody}/0", 69, "no answer from the queue server redis://127.0.0.1"),
        ("rediss://127.0.0.1:{nobody}/0", 69, "no answer from the queue server rediss://127.0.0.1"),
        ("redis://nobody.invalid/0", 69, "no answer from the queue server redis://nobody.invalid/0: .* not known"),
        ("unix:///no/such.sock", 69, "no answer from the queue server unix:///no/such.sock"),
    ],
)
async def test_one_server(plain: Valkey, locked: Valkey, nobody: int, url: str, code: int, why: str) -> None:
    async with secured(plain, "127.0.0.1") as tls, web() as http:
        ports = {"plain": plain.port, "locked": locked.port, "tls": tls, "web": http}
        await check(url.format(**ports, nobody=nobody), code, why)


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelFleet]:
    """The second one has a password of its own."""
    with SentinelFleet() as fleet:
        ask(fleet.sentinels[1], "ACL", "SETUSER", "default", f">{PASSWORD}", "-@all", "+auth")
        yield fleet


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("redis://127.0.0.1:{open}/0", 78, r"is a sentinel; write redis\+sentinel://127.0.0.1:\d+/crawl/0"),
        ("redis+sentinel://127.0.0.1:{open}/shop", 78, "watches no master named 'shop'; it watches crawl"),
        ("sentinel://127.0.0.1:{open}?master_name=shop", 78, "watches no master named 'shop'; it watches crawl"),
        ("redis+sentinel://127.0.0.1:{open}/crawl/99", 78, r"no database of this number"),
        ("redis+sentinel://me:geheim@127.0.0.1:{open}/crawl", 78, r"node .* rejected the user name or password"),
        ("redis+sentinel://127.0.0.1:{locked}/crawl", 78, "refuses the login: .*sentinel_password=PASSWORD"),
        ("redis+sentinel://127.0.0.1:{locked}/crawl?sentinel_password=wrong", 78, "refuses the login: .*sentinel_pass"),
        (
            "redis+sentinel://127.0.0.1:{locked}/crawl?sentinel_password=geheim",
            78,
            r"its user needs .*\+sentinel\|get-master-addr-by-name",
        ),
        ("redis+sentinel://127.0.0.1:{data}/crawl", 78, r"is no sentinel; write redis://127.0.0.1:\d+/0"),
        (
            "redis+cluster://127.0.0.1:{open}",
            78,
            r"is not a node of a cluster; write redis\+sentinel://127.0.0.1:\d+/N",
        ),
        ("redis+cluster://127.0.0.1:{data}", 78, r"is not a node of a cluster; write redis://127.0.0.1:\d+/0"),
        ("rediss+sentinel://127.0.0.1:{open}/crawl", 78, r"speaks no TLS; write redis\+sentinel:// instead"),
        ("redis+sentinel://127.0.0.1:{nobody}/crawl", 69, r"no answer from the queue server redis\+sentinel://"),
    ],
)
async def test_sentinels(sentinels: SentinelFleet, nobody: int, url: str, code: int, why: str) -> None:
    first, second, _ = sentinels.sentinels
    ports = {"open": first.port, "locked": second.port, "data": sentinels.nodes[0].port}
    await check(url.format(**ports, nobody=nobody), code, why)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterFleet]:
    with ClusterFleet(masters=3, replicas=0) as fleet:
        yield fleet


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("redis://127.0.0.1:{node}/0", 78, r"one node of a cluster; write redis\+cluster://127.0.0.1:\d+$"),
        ("redis://127.0.0.1:{node}/3", 78, "no database of this number; end REDIS_URL with /0"),
        ("redis+cluster://me:geheim@127.0.0.1:{node}", 78, r"me:\*\*\*@.* rejected the user name or password"),
        ("rediss+cluster://127.0.0.1:{node}", 78, r"speaks no TLS; write redis\+cluster:// instead"),
        ("redis+sentinel://127.0.0.1:{node}/crawl", 78, "is no sentinel; write redis://127.0.0.1"),
        ("redis+cluster://127.0.0.1:{nobody}", 69, r"no answer from the queue server redis\+cluster://"),
    ],
)
async def test_a_cluster(cluster: ClusterFleet, nobody: int, url: str, code: int, why: str) -> None:
    await check(url.format(node=cluster.nodes[0].port, nobody=nobody), code, why)
