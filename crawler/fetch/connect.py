"""Connections: only to addresses the guard has checked, and reused only while nobody has spoken unasked."""

from __future__ import annotations

import socket
import ssl
from collections import OrderedDict
from functools import partial
from time import monotonic
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientOSError,
    ClientResponse,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.resolver import DefaultResolver

from crawler.errors import ConfigError, OwnLimit
from crawler.fetch.failures import dns_verdict, words
from crawler.fetch.guard import AddressGuard
from crawler.fetch.plain import Bounds, Conversation
from crawler.runtime.own_limits import connect_limit, own_limit

_IDLE_SECONDS = 15.0  # many servers close after 60 or 75, some after 20
_DNS_SECONDS = 60
_DNS_NAMES = 10_000
_SUSPICIOUS = 3  # names in a row without an answer: then it is the resolver's fault and not theirs
_DNS_PATIENCE = 600.0  # seconds, after which it is theirs: maybe none is left but those that nobody answers for


class Pool(TCPConnector):
    """Open connections of one worker. The worker bounds how many are in use; when there are more than `connections`
    with those that are idle, the longest idle are closed. So nobody waits here while a host's time is running."""

    def __init__(
        self,
        guard: AddressGuard,
        tls: ssl.SSLContext | bool,
        resolver: AbstractResolver | None,
        bounds: Bounds,
        connections: int,
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
        self._connections = connections
        self._idle: OrderedDict[ResponseHandler, None] = OrderedDict()  # open ones, the longest idle first
        lost = partial(self._idle.pop, default=None)
        self._factory = partial(Conversation, loop=self._loop, bounds=bounds, lost=lost)  # type: ignore[assignment]

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
            self._idle.pop(protocol, None)  # type: ignore[arg-type]
            if isinstance(protocol, Conversation) and protocol.is_silent():
                return connection
            connection.close()
        return None

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Called by aiohttp when a connection is no longer in use: it keeps it, or closes it."""
        super()._release(key, protocol, should_close=should_close)
        if protocol.is_connected():
            self._idle[protocol] = None

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> Any:
        """Called by aiohttp to connect to one of a host's addresses."""
        self._close_idle(self._connections - len(self._acquired))
        families = {family for family, *_ in options["addr_infos"]}
        try:
            return await super()._wrap_create_connection(*args, **options)
        except ClientConnectorError as error:
            if limit := connect_limit(error.os_error, to_ipv4=socket.AF_INET in families):
                self._close_idle(0)  # what they hold may be what is missing
                raise limit from error
            raise

    def _close_idle(self, most: int) -> None:
        """Close the longest idle, at once, until there are no more than `most`."""
        while self._idle and len(self._idle) > most:
            self._idle.popitem(last=False)[0].abort()  # not `close`: TLS would wait for the other end to say good-bye


class _CheckedResolver(AbstractResolver):
    """Refuses a name when one of its addresses is forbidden: a mixed answer is an attack (DNS rebinding).

    The connection goes to one of the addresses checked: they are not resolved again in between.
    Raises `OwnLimit` when it is the resolver that does not work, not the name.
    """

    def __init__(self, guard: AddressGuard, resolver: AbstractResolver | None) -> None:
        self._guard = guard
        self._resolver = resolver
        self._is_systems = resolver is None
        self._unanswered: set[str] = set()  # names, since the last answer
        self._since = 0.0  # monotonic seconds
        self._closed_for: OwnLimit | None = None  # why the last resolver was closed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            if self._resolver is None:
                self._resolver = DefaultResolver()  # not before it is needed: literal addresses need no DNS
        except Exception as error:  # a library's own
            raise OwnLimit(f"the DNS resolver cannot be started: {error}") from error
        resolver = self._resolver
        try:
            records = await resolver.resolve(host, port, family)
        except Exception as error:
            if limit := self._limit(host, error):
                if self._is_systems and self._resolver is resolver:
                    self._resolver = None  # the next one reads anew which servers there are
                    self._closed_for = limit
                    await resolver.close()
                raise limit from error
            raise
        self._unanswered.clear()
        for record in records:
            self._guard.check(record["host"], host)
        return records

    def _limit(self, host: str, error: Exception) -> OwnLimit | None:
        """Whose failure is it, the name's (None) or the resolver's? That a name does not exist is an answer."""
        verdict = dns_verdict(error)
        if verdict == "closed":
            return self._closed_for
        if verdict == "broken":
            return OwnLimit(f"no DNS server can be asked ({words(error)}): see /etc/resolv.conf")
        if verdict == "answered":
            self._unanswered.clear()
        if verdict != "silent":
            return own_limit(error)
        if not self._unanswered:
            self._since = monotonic()
        self._unanswered.add(host)
        if len(self._unanswered) < _SUSPICIOUS or monotonic() - self._since > _DNS_PATIENCE:
            return None
        return OwnLimit(f"no answer from DNS for {_SUSPICIOUS} names or more in a row: see /etc/resolv.conf")

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

    Returns True for the default of aiohttp, which has already made such a context (that takes 25 ms). Raises
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
