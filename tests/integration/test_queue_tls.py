"""TLS to the queue server: verified, with our own certificate if the server asks for one, for the heartbeat too."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.errors import ConfigError, CrawlerError
from crawler.frontier.redis.server import Server
from crawler.settings import Settings
from tests.tls_proxy import tls_before
from tests.valkey import Valkey

# The certificate is for a name, and the server is dialled by its address.
NAME = "queue.example"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    mine = made.issue_cert("worker.example")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return made


def of_server(authority: trustme.CA, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(context)
    if asks:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def opened(url: str) -> None:
    async with connect(Config(Settings(REDIS_URL=url), {}, Path())) as backend:
        assert await backend.jobs.all() == []


async def test_the_heartbeats_thread_and_the_rest_verify_the_server_and_show_our_certificate(
    authority: trustme.CA, tmp_path: Path
) -> None:
    with Valkey() as real:
        async with tls_before(real, of_server(authority, asks=True)) as port:
            query = f"ssl_server_hostname={NAME}&ssl_certfile={tmp_path}/cert.pem&ssl_keyfile={tmp_path}/key.pem"
            server = Server(f"rediss://127.0.0.1:{port}/0?{query}", ca_file=str(tmp_path / "ca.pem"))
            try:
                await server.open()
                await asyncio.to_thread(server.run_in_thread, "beat", "{x:0}:workers", "{x:0}:", "w", 1, "{}")
                assert await server.at("{x:0}:").zscore("{x:0}:workers", "w")
            finally:
                await server.close()
            await opened(f"valkeys://127.0.0.1:{port}/0?{query}&ssl_ca_certs={tmp_path}/ca.pem")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "CERTIFICATE_VERIFY_FAILED"),  # an unknown authority
        ("ssl_ca_certs={}/ca.pem", "CERTIFICATE_VERIFY_FAILED.*127.0.0.1"),  # another name
        ("ssl_ca_certs={}/no.pem", r"ssl_ca_certs=\S+/no.pem .*No such file"),
        ("ssl_certfile={}/ca.pem", r"ssl_certfile=\S+/ca.pem .*that can be used"),  # without its key
    ],
)
async def test_a_certificate_that_does_not_fit_is_refused(
    authority: trustme.CA, tmp_path: Path, query: str, why: str
) -> None:
    with Valkey() as real:
        async with tls_before(real, of_server(authority)) as port:
            with pytest.raises(CrawlerError, match=why):
                await opened(f"rediss://127.0.0.1:{port}/0?{query.format(tmp_path)}")


async def test_tls_that_is_not_verified_is_warned_about(authority: trustme.CA) -> None:
    with Valkey(appendonly=True) as real, capture_logs() as logs:
        async with tls_before(real, of_server(authority)) as port:
            await opened(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")
    assert [line["event"] for line in logs] == ["queue_server_not_verified"]


def test_the_files_are_looked_at_before_anything_connects(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ssl_keyfile"):
        Server(f"rediss://127.0.0.1:1/0?ssl_certfile={tmp_path}/cert.pem&ssl_keyfile={tmp_path}/key.pem")
