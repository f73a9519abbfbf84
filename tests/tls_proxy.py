"""TLS in front of a real server that has none: the handshake is real, the bytes are passed on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.valkey import Valkey


@asynccontextmanager
async def tls_before(server: Valkey, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Listen on a port of 127.0.0.1, which is returned, and pass what is said there on to the server."""
    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        inner_reader, inner_writer = await asyncio.open_unix_connection(server.socket)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    listening = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await asyncio.gather(*(talk for talk in talks if talk))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:  # includes ssl.SSLError: the other side has gone
        pass
    writer.close()
