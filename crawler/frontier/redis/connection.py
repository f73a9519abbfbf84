"""One connection to one node: its login, its database, its TLS.

redis-py's own connections make a new TLS context each time (25 ms), and check the certificate against the host that
they dial. Sentinels and clusters tell their nodes by address, which few certificates name.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio

from crawler.errors import ConfigError
from crawler.frontier.redis.address import Address, Tls
from crawler.runtime.tls import client_context


class TlsConnection(redis.asyncio.Connection):
    """A connection with TLS. `server_name`: the name in the certificate; empty: the host."""

    def __init__(self, *, context: ssl.SSLContext, server_name: str = "", **options: Any) -> None:
        self._context = context
        self._server_name = server_name
        super().__init__(**options)

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = super()._connection_arguments()
        return {**arguments, "ssl": self._context, "server_hostname": self._server_name or self.host}


class BlockingTlsConnection(redis.Connection):
    """The same for a thread."""

    def __init__(self, *, context: ssl.SSLContext, server_name: str = "", **options: Any) -> None:
        self._context = context
        self._server_name = server_name
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        plain = super()._connect()  # type: ignore[no-untyped-call]
        try:
            return self._context.wrap_socket(plain, server_hostname=self._server_name or self.host)
        except OSError:  # includes ssl.SSLError
            plain.close()
            raise


def tls_context(tls: Tls, ca_file: str = "") -> ssl.SSLContext:
    """Return the context for connections to a queue server; `ca_file` holds more certificate authorities (TLS_CA_FILE).

    Raise `ConfigError` for a file that cannot be used.
    """
    context = client_context(ca_file)
    with _named(f"ssl_ca_certs={tls.ssl_ca_certs} ssl_ca_path={tls.ssl_ca_path}", "PEM certificates"):
        if tls.ssl_ca_certs or tls.ssl_ca_path:
            context.load_verify_locations(tls.ssl_ca_certs or None, tls.ssl_ca_path or None)
    with _named(
        f"ssl_certfile={tls.ssl_certfile} ssl_keyfile={tls.ssl_keyfile}",
        "PEM certificate and key (an encrypted one needs ssl_password)",
    ):
        if tls.ssl_certfile or tls.ssl_keyfile:
            context.load_cert_chain(tls.ssl_certfile, tls.ssl_keyfile or None, lambda: tls.ssl_password)
    context.check_hostname = tls.ssl_check_hostname and tls.ssl_cert_reqs != "none"
    context.verify_mode = ssl.VerifyMode[f"CERT_{tls.ssl_cert_reqs.upper()}"]
    return context


@contextmanager
def _named(options: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # includes ssl.SSLError
        raise ConfigError(f"REDIS_URL: {options} holds no {what} that can be used: {error}") from None


def connection_class(address: Address, *, blocking: bool = False) -> Any:
    """Return redis-py's class of the connections, `blocking` for a thread."""
    if address.path:
        return redis.UnixDomainSocketConnection if blocking else redis.asyncio.UnixDomainSocketConnection
    if address.tls is not None:
        return BlockingTlsConnection if blocking else TlsConnection
    return redis.Connection if blocking else redis.asyncio.Connection


def endpoint(address: Address) -> dict[str, Any]:
    """Return redis-py's options that say where one server is."""
    if address.path:
        return {"path": address.path}
    host, port = address.nodes[0]
    return {"host": host, "port": port}


def options(address: Address, ca_file: str = "") -> dict[str, Any]:
    """Return redis-py's options of each connection to a server: login, database, and what `TlsConnection` needs."""
    login = {"username": address.user or None, "password": address.password or None, "db": address.db}
    if address.tls is None:
        return login
    return {**login, "context": tls_context(address.tls, ca_file), "server_name": address.tls.ssl_server_hostname}
