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


async def told(url: str) -> tuple[int, str]:
    """The exit code, and what a person is told."""
    with pytest.raises(CrawlerError) as refused:
        async with connect(Config(Settings(REDIS_URL=url, REDIS_TIMEOUT=1.0), {}, Path())):
            pass
    assert PASSWORD not in str(refused.value)
    return refused.value.exit_code, str(refused.value)


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("redis://127.0.0.1:{locked}/0", 78, r"requires a password: REDIS_URL=redis://:PASSWORD@"),
        ("redis://:wrong@127.0.0.1:{locked}/0", 78, r":\*\*\*@.* rejected the user name or password; check REDIS_URL"),
        ("redis://nobody:geheim@127.0.0.1:{locked}/0", 78, r"nobody:\*\*\*@.* rejected the user name or password"),
        ("redis://127.0.0.1:{plain}/99", 78, "no database of this number; end REDIS_URL with /0"),
        ("rediss://127.0.0.1:{plain}/0", 78, r"127.0.0.1:\d+ speaks no TLS; write redis:// instead of rediss://"),
        ("valkeys://127.0.0.1:{plain}/0", 78, "write redis:// instead of valkeys://"),
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
async def test_one_server(plain: Valkey, locked: Valkey, url: str, code: int, why: str) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        async with secured(plain, "127.0.0.1") as tls, web() as http:
            ports = {"plain": plain.port, "locked": locked.port, "tls": tls, "web": http}
            found = await told(url.format(**ports, nobody=taken.getsockname()[1]))
    assert found[0] == code
    assert re.search(why, found[1]), found[1]
