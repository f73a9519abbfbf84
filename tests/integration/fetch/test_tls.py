"""Certificates are verified; a failure is an error of that page, never a fallback."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
import trustme

from crawler.errors import ConfigError, FetchError
from crawler.fetch.guard import AddressGuard
from crawler.fetch.http import HttpFetcher
from crawler.model import Request
from tests.integration.fetch.server import Server, fetching, ok, says, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def tls_server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def test_tls_with_an_authority_of_our_own(authority: trustme.CA, ca_file: str) -> None:
    tls = tls_server(authority.issue_cert("127.0.0.1"))
    async with serving(says(ok()), tls=tls) as server, fetching(tls_ca_file=ca_file) as fetcher:
        for _ in range(3):
            assert (await fetcher.fetch(Request(f"{server.origin}/"))).body == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize("case", ["self-signed", "expired", "wrong host"])
async def test_a_certificate_that_does_not_verify_is_a_permanent_error(
    authority: trustme.CA, ca_file: str, case: str
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = {
        "self-signed": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_before=past, not_after=past),
        "wrong host": lambda: authority.issue_cert("127.0.0.2"),
    }[case]()
    async with (
        serving(says(ok()), tls=tls_server(certificate)) as server,
        fetching(tls_ca_file=ca_file) as fetcher,
    ):
        with pytest.raises(FetchError, match=r"certificate.*TLS_CA_FILE") as caught:
            await fetcher.fetch(Request(f"{server.origin}/"))
    assert (caught.value.kind, caught.value.transient) == ("tls", False)
    assert server.heads == []


async def test_a_server_that_speaks_no_tls_is_a_permanent_error() -> None:
    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(talk) as server, fetching() as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"https://127.0.0.1:{server.port}/"))
    assert (caught.value.kind, caught.value.transient) == ("tls", False)


async def test_an_authority_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        if path.stem == "empty":
            path.write_text("no certificate")
        with pytest.raises(ConfigError, match=rf"TLS_CA_FILE: .*{path.name}"):
            HttpFetcher("example/1.0", AddressGuard(), tls_ca_file=str(path))


async def test_the_certificate_of_the_host_can_be_read_when_its_connection_is_gone(
    authority: trustme.CA, ca_file: str
) -> None:
    tls = tls_server(authority.issue_cert("127.0.0.1"))
    async with serving(says(ok()), tls=tls) as server:
        async with fetching(tls_ca_file=ca_file) as fetcher:
            pages = [await fetcher.fetch(Request(f"{server.origin}/")) for _ in range(2)]
        for page in pages:
            assert page.certificate is not None
            assert page.certificate["subjectAltName"] == (("IP Address", "127.0.0.1"),)
            assert page.copy().certificate == page.certificate
        assert pages[0].certificate is not pages[1].certificate, "a spider may change its own"
    async with serving(says(ok())) as server, fetching() as fetcher:
        assert (await fetcher.fetch(Request(f"{server.origin}/"))).certificate is None
