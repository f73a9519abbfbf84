"""TLS to the queue server: verified, with our own certificate if the server asks for one, for the heartbeat too."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from msgspec.structs import replace
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.errors import ConfigError, CrawlerError, FrontierUnavailable
from crawler.frontier.redis.address import read
from crawler.frontier.redis.connection import tls_context
from crawler.frontier.redis.server import Server
from crawler.settings import Settings
from tests.ports import free_port
from tests.tls_proxy import tls_before
from tests.valkey import Valkey
from tests.valkey_fleet import Sentinel, ask, wait_for

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


def all_of(folder: Path) -> str:
    """All that the server needs to be known and to know us."""
    names = f"ssl_server_hostname={NAME}&ssl_ca_certs={folder}/ca.pem"
    return f"{names}&ssl_certfile={folder}/cert.pem&ssl_keyfile={folder}/key.pem"


async def opened(url: str) -> None:
    async with connect(Config(Settings(REDIS_URL=url, ACCEPT_LOSS=True), {}, Path())) as backend:
        assert await backend.jobs.all() == []


async def test_the_heartbeats_thread_and_the_rest_verify_the_server_and_show_our_certificate(
    authority: trustme.CA, tmp_path: Path
) -> None:
    with Valkey() as real:
        async with tls_before(real, of_server(authority, asks=True)) as port:
            query = all_of(tmp_path).replace(f"&ssl_ca_certs={tmp_path}/ca.pem", "")
            server = Server(f"rediss://127.0.0.1:{port}/0?{query}", ca_file=str(tmp_path / "ca.pem"))
            try:
                await server.open()
                await asyncio.to_thread(server.run_in_thread, "beat", "{x:0}:workers", "{x:0}:", "w", 1, "{}")
                assert await server.at("{x:0}:").zscore("{x:0}:workers", "w")
            finally:
                await server.close()
            await opened(f"valkeys://127.0.0.1:{port}/0?{all_of(tmp_path)}")


async def test_the_sentinels_and_the_master_that_they_name_are_verified(authority: trustme.CA, tmp_path: Path) -> None:
    with Valkey(tcp=True) as data, Sentinel(data) as sentinel:
        async with (
            tls_before(data, of_server(authority, asks=True)) as master,
            tls_before(sentinel, of_server(authority, asks=True)) as port,
        ):
            ask(sentinel, "SENTINEL", "REMOVE", "crawl")
            ask(sentinel, "SENTINEL", "MONITOR", "crawl", "127.0.0.1", master, 1)
            with pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED"):
                await opened(f"rediss+sentinel://127.0.0.1:{port}/crawl")
            await opened(f"rediss+sentinel://127.0.0.1:{port}/crawl?{all_of(tmp_path)}")


async def test_each_node_of_a_cluster_is_verified(authority: trustme.CA, tmp_path: Path) -> None:
    cluster = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with Valkey(tcp=True, options=cluster) as node:
        async with tls_before(node, of_server(authority, asks=True)) as port:
            ask(node, "CONFIG", "SET", "cluster-announce-port", port)
            ask(node, "CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            await asyncio.to_thread(
                wait_for, lambda: b"cluster_state:ok" in ask(node, "CLUSTER", "INFO"), "the cluster"
            )
            with pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED"):
                await opened(f"rediss+cluster://127.0.0.1:{port}")
            await opened(f"rediss+cluster://127.0.0.1:{port}?{all_of(tmp_path)}")


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


async def test_who_shows_no_certificate_is_told_that_the_server_may_ask_for_one(
    authority: trustme.CA, tmp_path: Path
) -> None:
    with Valkey() as real:
        async with tls_before(real, of_server(authority, asks=True)) as port:
            with pytest.raises(FrontierUnavailable, match="does it ask for our certificate"):
                await opened(f"rediss://127.0.0.1:{port}/0?{all_of(tmp_path).partition('&ssl_certfile')[0]}")


async def test_a_certificate_for_another_name_may_be_accepted(authority: trustme.CA, tmp_path: Path) -> None:
    with Valkey() as real:
        async with tls_before(real, of_server(authority)) as port:
            await opened(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem&ssl_check_hostname=false")


def test_an_encrypted_key_needs_its_password_and_nobody_is_asked(authority: trustme.CA, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    form, whole = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = serialization.BestAvailableEncryption(b"geheim")
    (tmp_path / "key.pem").write_bytes(key.private_bytes(form, whole, secret))
    tls = read(f"rediss://host?ssl_certfile={tmp_path}/cert.pem&ssl_keyfile={tmp_path}/key.pem").tls
    assert tls
    with pytest.raises(ConfigError, match=r"ssl_keyfile=.*needs ssl_password"):
        tls_context(tls)
    tls_context(replace(tls, ssl_password="geheim"))


async def test_tls_that_is_not_verified_is_warned_about(authority: trustme.CA) -> None:
    with Valkey(appendonly=True) as real, capture_logs() as logs:
        async with tls_before(real, of_server(authority)) as port:
            await opened(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")
    assert [line["event"] for line in logs] == ["queue_server_not_verified"]


def test_the_files_are_looked_at_before_anything_connects(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ssl_keyfile"):
        Server(f"rediss://127.0.0.1:1/0?ssl_certfile={tmp_path}/cert.pem&ssl_keyfile={tmp_path}/key.pem")
