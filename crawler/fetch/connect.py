"""Opens connections only to addresses that the guard has checked, and reuses only those that are silent."""

from __future__ import annotations

import socket
import ssl
from collections import Counter, OrderedDict, deque
from functools import partial
from itertools import cycle
from time import monotonic
from typing import Any

from aiohttp import (
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
from aiohttp.resolver import AsyncResolver, DefaultResolver

from crawler.errors import OwnLimit
from crawler.fetch.conversation import Bounds, Conversation
from crawler.fetch.failures import dns_verdict, words
from crawler.fetch.guard import AddressGuard
from crawler.runtime.own_limits import connect_limit, own_limit
from crawler.runtime.tls import client_context

_MOST_IDLE = 4_096  # open connections that wait for a request; some 8 kB each, with TLS 48
_CLOSES_LAST = (True, True, True, False)  # which end the connection is taken from that is closed to make room
_LONG = 2.0  # times as long as connections are idle before their next request: then their host is done
_LATELY = 0.05  # weight of the newest one in that average
_IDLE_SECONDS = 60.0  # a host with a shorter delay is asked on its own connection; many servers close at 60
_DNS_SECONDS = 60
_DNS_NAMES = 4_096  # whose addresses are kept, some 1 kB each
_RESOLVER_NAMES = 4_096  # after which another resolver takes over: c-ares keeps valid answers, 2 kB for each
_SUSPICIOUS = 3  # names in a row without an answer, after which the resolver is at fault and not the names
_DNS_PATIENCE = 600.0  # seconds, after which the names are at fault: perhaps only those without an answer are left


class Pool(TCPConnector):
    """The open connections of one worker. The worker bounds how many are in use. If those and the idle ones are more
    than `connections`, the pool closes idle ones, so no request waits here while its time-out runs.

    A server that wants to close an idle connection earlier just closes it (RFC 9112 §9.5), so its hint how long it
    keeps one (`Keep-Alive: timeout=5`) is not needed."""

    def __init__(
        self,
        guard: AddressGuard,
        tls: ssl.SSLContext | bool,
        resolver: AbstractResolver | None,
        bounds: Bounds,
        connections: int,
    ) -> None:
        def checked_socket(address: Any) -> socket.socket:
            # Checks the address of every connection. Literal addresses, which are never resolved, pass only this check.
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
        self._closes_last = cycle(_CLOSES_LAST)
        # → since when, and where aiohttp has it; the longest idle first
        self._idle: OrderedDict[ResponseHandler, tuple[float, ConnectionKey]] = OrderedDict()
        self._reused_after = 0.0  # seconds for which connections were idle, an average; 0: none was used again yet
        self._factory = partial(  # type: ignore[assignment]
            Conversation, loop=self._loop, bounds=bounds, lost=self._forget
        )

    async def idle(self, key: ConnectionKey) -> Connection | None:
        """An open connection that is ready for a request; None if a new one is needed."""
        return await self._get(key, ())

    async def close_idle(self, key: ConnectionKey) -> None:
        """Close the open connections that are ready for a request, so that the next request makes a new one."""
        while (connection := await self.idle(key)) is not None:
            connection.close()

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections and the resolver."""
        await super().close(abort_ssl=abort_ssl)
        await self._checked_resolver.close()

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, as the next connection uses them. Raises `Refused` and the resolver's errors."""
        return [record["host"] for record in await self._resolve_host(host, port)]

    async def _get(self, key: Any, traces: Any) -> Connection | None:
        """Like aiohttp's `_get`, but return only an idle connection that is silent.

        Bytes that arrived before the next request would be read as its answer, although they belong to another
        page (RFC 9112 §9.2). aiohttp checks for them when an answer ends, not when the next request begins.
        """
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            idle = self._idle.pop(protocol, None)  # type: ignore[arg-type]
            if idle and isinstance(protocol, Conversation) and protocol.is_silent():
                reused_after = monotonic() - idle[0]
                self._reused_after += (reused_after - self._reused_after) * (_LATELY if self._reused_after else 1.0)
                protocol.use_again()
                return connection
            connection.close()
        return None

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Let aiohttp keep or close a connection after use, and record one that it keeps. Called by aiohttp."""
        super()._release(key, protocol, should_close=should_close)
        if protocol.is_connected():
            self._idle[protocol] = monotonic(), key

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> Any:
        """Make room, then connect to one of a host's addresses. aiohttp calls this. Raises `OwnLimit`."""
        self._close_idle(min(self._connections - len(self._acquired), _MOST_IDLE))
        families = {family for family, *_ in options["addr_infos"]}
        try:
            return await super()._wrap_create_connection(*args, **options)
        except ClientConnectorError as error:
            if limit := connect_limit(error.os_error, to_ipv4=socket.AF_INET in families):
                self._close_idle(0)  # idle connections may hold the resource that is missing
                raise limit from error
            raise

    def _close_idle(self, most: int) -> None:
        """Close idle connections at once until no more than `most` are left: first those that have been idle for so
        long that their host is done.

        Without such, hosts are asked in turn, and the longest idle one would be used next: to close always that one
        would leave none to be used. To close always the one used last would keep those of hosts that are done.
        """
        now = monotonic()
        while self._idle and len(self._idle) > most:
            since, _ = next(iter(self._idle.values()))
            is_done = 0 < self._reused_after < (now - since) / _LONG
            is_last = not is_done and next(self._closes_last)
            connection = next(reversed(self._idle) if is_last else iter(self._idle))
            self._forget(connection)
            connection.abort()  # not `close`: TLS would wait for the server's close_notify

    def _forget(self, connection: ResponseHandler) -> None:
        """Forget an idle connection that ends. aiohttp would keep what is left of it for a minute."""
        if idle := self._idle.pop(connection, None):
            _, key = idle
            others = deque(kept for kept in self._conns.pop(key, ()) if kept[0] is not connection)
            if others:
                self._conns[key] = others


class _CheckedResolver(AbstractResolver):
    """Leaves out the addresses of a name that the guard forbids, or refuses the name.

    The connection goes to one of the checked addresses, without a second look-up in between. Raises `OwnLimit` if the
    resolver fails and not the name.
    """

    def __init__(self, guard: AddressGuard, resolver: AbstractResolver | None) -> None:
        self._guard = guard
        self._resolver = resolver
        self._is_systems = resolver is None
        self._names = 0  # that the resolver was asked for
        self._pending: Counter[AbstractResolver] = Counter()  # names without an answer yet
        self._unanswered: set[str] = set()  # names, since the last answer
        self._since = 0.0  # monotonic seconds
        self._closed_for: OwnLimit | None = None  # why the last resolver was closed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            if self._resolver is None:
                self._resolver, self._names = _systems_resolver(), 0  # only when needed: literal addresses need no DNS
        except Exception as error:  # the library may raise anything
            raise OwnLimit(f"the DNS resolver cannot be started: {error}") from error
        resolver = self._resolver
        try:
            records = await self._ask(resolver, host, port, family)
        except Exception as error:
            if limit := self._limit(host, error):
                if self._is_systems and self._resolver is resolver:
                    self._resolver = None  # the next one reads the list of servers again
                    self._closed_for = limit
                    await resolver.close()
                raise limit from error
            raise
        self._unanswered.clear()
        permitted = set(self._guard.permitted([record["host"] for record in records], host))
        return [record for record in records if record["host"] in permitted]

    async def _ask(
        self, resolver: AbstractResolver, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        """Ask it for a name. The last answer of one whose time is over closes it."""
        self._names += 1
        self._pending[resolver] += 1
        try:
            return await resolver.resolve(host, port, family)
        finally:
            self._pending[resolver] -= 1
            if self._is_systems and self._resolver is resolver and self._names >= _RESOLVER_NAMES:
                self._resolver = None
            if self._resolver is not resolver and not self._pending[resolver]:
                del self._pending[resolver]
                await resolver.close()

    def _limit(self, host: str, error: Exception) -> OwnLimit | None:
        """Return the limit if the resolver failed; None if the name did. “No such name” is an answer."""
        verdict = dns_verdict(error)
        if verdict == "closed":
            return self._closed_for
        if verdict == "broken":
            return OwnLimit(f"no DNS server can be reached ({words(error)}): see /etc/resolv.conf")
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


def _systems_resolver() -> AbstractResolver:
    """A resolver that nobody else uses. Without an argument aiohttp shares one, which ends with its last user."""
    return AsyncResolver(nameservers=None) if DefaultResolver is AsyncResolver else DefaultResolver()


class AskedOnce(ClientResponse):
    """aiohttp's response, with its connection's protocol, and without aiohttp's own retry."""

    conversation: Conversation

    async def start(self, connection: Connection) -> ClientResponse:
        """Read the head. Raises `ClientConnectionError` if the connection ends before the head does.

        On the two errors caught here, and on no others, aiohttp would send the request a second time by itself.
        """
        assert isinstance(connection.protocol, Conversation)  # noqa: S101 - for the type checker
        self.conversation = connection.protocol
        try:
            return await super().start(connection)
        except (ClientOSError, ServerDisconnectedError) as error:
            raise self.conversation.ended(error) from error


def tls_context(ca_file: str = "") -> ssl.SSLContext | bool:
    """Return a context that verifies certificates against the system's authorities and those in `ca_file` (PEM).

    Without a file returns True: aiohttp then uses its default context, which exists already (making one takes 25 ms).
    Raises `ConfigError` if the file cannot be used.
    """
    if not ca_file:
        return True
    context = client_context(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
