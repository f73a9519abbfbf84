"""Connections: only to addresses the guard has checked, and reused only while nobody has spoken unasked."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientOSError,
    ClientResponse,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.resolver import DefaultResolver

from crawler.errors import ConfigError
from crawler.fetch.guard import AddressGuard
from crawler.fetch.plain import Bounds, Conversation

_IDLE_SECONDS = 15.0  # many servers close after 60 or 75, some after 20
_DNS_SECONDS = 60
_DNS_NAMES = 10_000


class Pool(TCPConnector):
    """Open connections of one worker. Unbounded in number: the worker bounds what it asks at once."""

    def __init__(
        self, guard: AddressGuard, tls: ssl.SSLContext | bool, resolver: AbstractResolver | None, bounds: Bounds
    ) -> None:
        def checked_socket(address: Any) -> socket.socket:
            # Every connection passes here with the address it goes to; literals, never resolved, only here.
            family, kind, protocol, _, (ip, *_) = address
            guard.check(ip)
            return socket.socket(family, kind, protocol)

        self._checked_resolver = _CheckedResolver(guard, resolver)
        super().__init__(
            limit=0,
            limit_per_host=0,
            keepalive_timeout=_IDLE_SECONDS,
            ssl=tls,
            resolver=self._checked_resolver,
            ttl_dns_cache=_DNS_SECONDS,
            dns_cache_max_size=_DNS_NAMES,
            socket_factory=checked_socket,
        )
        self._factory = partial(Conversation, loop=self._loop, bounds=bounds)  # type: ignore[assignment]

    async def idle(self, key: ConnectionKey) -> Connection | None:
        """An open connection that can be asked; None: a new one is needed."""
        return await self._get(key, ())

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections and the resolver."""
        await super().close(abort_ssl=abort_ssl)
        await self._checked_resolver.close()

    async def addresses(self, host: str, port: int) -> list[str]:
        """What a host resolves to; the next connection uses the same answer. Raises as the resolver does, `Refused`."""
        return [record["host"] for record in await self._resolve_host(host, port)]

    async def _get(self, key: Any, traces: Any) -> Connection | None:
        """An idle connection to use again, as aiohttp's, but a silent one.

        Bytes that arrived before we asked would be taken for the answer to the next request, which is another
        page's (RFC 9112 §9.2). aiohttp looks for them when an answer has ended, not when the next one begins.
        """
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if isinstance(protocol, Conversation) and protocol.is_silent():
                return connection
            connection.close()
        return None


class _CheckedResolver(AbstractResolver):
    """Refuses a name when one of its addresses is forbidden: a mixed answer is an attack (DNS rebinding).

    The connection goes to one of the addresses checked: they are not resolved again in between.
    """

    def __init__(self, guard: AddressGuard, resolver: AbstractResolver | None) -> None:
        self._guard = guard
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if self._resolver is None:
            self._resolver = DefaultResolver()  # not before it is needed: literal addresses need no DNS
        records = await self._resolver.resolve(host, port, family)
        for record in records:
            self._guard.check(record["host"], host)
        return records

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()


class AskedOnce(ClientResponse):
    """aiohttp's response with the address that answered, and asked for once."""

    address = ""

    async def start(self, connection: Connection) -> ClientResponse:
        """Read the head. Raises `ClientConnectionError` when the connection ends before it does.

        For the two errors caught here, and no other, aiohttp would send the request a second time by itself:
        a request that the ledger does not know of. Retrying is the frontier's business.
        """
        if connection.transport is not None:
            self.address = connection.transport.get_extra_info("peername")[0]
        try:
            return await super().start(connection)
        except (ClientOSError, ServerDisconnectedError) as error:
            raise ClientConnectionError(str(error)) from error


def tls_context(ca_file: str = "") -> ssl.SSLContext | bool:
    """Verifies certificates against the system's authorities and those in `ca_file` (PEM).

    True: as aiohttp does without being told; it has made such a context already, which takes 25 ms. Raises
    `ConfigError` when the file cannot be used.
    """
    if not ca_file:
        return True
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"TLS_CA_FILE: {ca_file} holds no PEM certificates: {error}") from error
    return context
