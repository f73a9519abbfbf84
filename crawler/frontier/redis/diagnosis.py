"""Finds out what speaks at an address that does not answer as a queue server, for a person who wrote the wrong URL."""

from __future__ import annotations

import asyncio
import ssl

from crawler.errors import ConfigError
from crawler.frontier.redis.address import Address
from crawler.runtime.safe_text import shown as printed

_SECONDS = 1.0  # to wait for each of two answers of a node
_PING = b"PING\r\n"
_REPLIES = (b"+", b"-")  # +PONG, or an error such as -NOAUTH and -LOADING
_ALERT = b"\x15\x03"  # what TLS answers to anything else


async def diagnose(address: Address) -> ConfigError | None:
    """Return what is wrong with the URL; None if nobody can tell, as when nobody listens there. Sends no login."""
    for host, port in address.nodes:
        node, reply = f"{host}:{port}", await _reply(host, port)
        if reply.startswith(_REPLIES):
            if address.tls:
                return _other_scheme(address, f"{node} speaks no TLS", "redis")
        elif reply and not reply.startswith(_ALERT):
            text = printed(reply.decode(errors="replace").partition("\r\n")[0])
            why = f"no Redis or Valkey server listens at {node}; who does says {text!r}"
            return ConfigError(f"{address.shown}: {why}")
        elif not address.tls and await _begins_tls(host, port):
            return _other_scheme(address, f"{node} speaks TLS", "rediss")
    return None


def _other_scheme(address: Address, why: str, server: str) -> ConfigError:
    form = "" if address.kind == "single" else f"+{address.kind}"
    scheme = address.shown.partition(":")[0]
    return ConfigError(f"{address.shown}: {why}; write {server}{form}:// instead of {scheme}://")


async def _reply(host: str, port: int) -> bytes:
    """Return the first bytes with which a server without TLS answers; none if nobody does."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_PING)
                return await reader.read(100)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


async def _begins_tls(host: str, port: int) -> bool:
    """Return whether TLS begins there. No certificate is checked, because nothing is said."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
    except (OSError, TimeoutError):  # includes ssl.SSLError
        return False
    return True
