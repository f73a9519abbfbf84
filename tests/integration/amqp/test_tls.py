"""`amqps` verifies the broker's certificate, and heeds TLS_CA_FILE."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from crawler.amqp.address import Address, Broker
from crawler.amqp.connection import connect
from crawler.errors import BrokerUnavailable
from crawler.runtime.tls import client_context


async def test_only_a_known_authority_hears_of_amqp(tmp_path: Path) -> None:
    authority, heard = trustme.CA(), []
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4))
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context) as server:
        address = Address("amqps", (("localhost", server.sockets[0].getsockname()[1]),))
        with pytest.raises(BrokerUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*TLS_CA_FILE"):
            await connect(Broker(address, "t", 10, client_context()))
        assert heard == []
        with pytest.raises(BrokerUnavailable, match="closed"):
            await connect(Broker(address, "t", 10, client_context(str(tmp_path / "ca.pem"))))
        assert heard == [b"AMQP"]
