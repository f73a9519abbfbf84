"""A TCP proxy in front of the queue server, or of a broker: the network between and all that can happen to it.

async with proxy_to(server.socket) as network:
    worker(REDIS_URL=network.url)
    network.cut()          # black hole: nothing arrives, nothing is refused
    network.heal()         # what was sent meanwhile arrives now, late
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


class Proxy:
    """Passes bytes on until told otherwise. Every change holds for connections that are open and for new ones."""

    def __init__(self, target: Path | int) -> None:
        self.target = target
        self.port = 0
        self._open = asyncio.Event()
        self._open.set()
        self._links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loses_replies = False
        self._unanswered: tuple[re.Pattern[bytes], int] | None = None  # commands whose replies get lost, and how many
        self._all_lost = asyncio.Event()
        self.delay = 0.0  # seconds by which each reply comes later
        self.replies_lost = 0
        self.commands_late = 0

    @property
    def url(self) -> str:
        """The queue server, as seen from behind this network."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Black hole: connections stay, bytes stop."""
        self._open.clear()

    def lose_replies(self) -> None:
        """Commands arrive and are carried out; nobody hears so."""
        self._loses_replies = True

    async def lose_replies_to(self, commands: bytes, times: int) -> None:
        """The next `times` commands of that kind (a regular expression) are carried out, and their connections are
        reset instead of answered. Returns when that has happened."""
        self._unanswered = re.compile(commands), times
        self._all_lost.clear()
        await self._all_lost.wait()

    def heal(self) -> None:
        """Bytes flow again. Connections that lost a reply are reset: what follows would not fit the question."""
        if self._loses_replies:
            self._loses_replies = False
            self.reset()
        self._open.set()

    def reset(self) -> None:
        """RST on every connection."""
        for link in list(self._links):
            for writer in link:
                _reset(writer)

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def close(self) -> None:
        """End all connections."""
        self.heal()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._link(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the queue server is down (then we hang up, as its machine would), or we are closing
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        up_reader, up_writer = await (
            asyncio.open_unix_connection(str(self.target))
            if isinstance(self.target, Path)
            else asyncio.open_connection("127.0.0.1", self.target)
        )
        link = (writer, up_writer)
        self._links.add(link)
        doomed = asyncio.Event()  # its next reply gets lost, and it with it
        pumps = [
            asyncio.create_task(self._commands(reader, up_writer, doomed)),
            asyncio.create_task(self._replies(up_reader, writer, doomed)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._links.discard(link)
            up_writer.transport.abort()  # nobody waits for what is still on its way
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _commands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if not self._open.is_set():
                    self.commands_late += 1
                    await self._open.wait()
                if self._unanswered and self._unanswered[0].search(data):
                    doomed.set()
                    kind, times = self._unanswered
                    self._unanswered = (kind, times - 1) if times > 1 else None
                writer.write(data)
                await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if doomed.is_set():
                    self.replies_lost += 1
                    if self._unanswered is None:
                        self._all_lost.set()
                    _reset(writer)
                    return
                if self._loses_replies:
                    self.replies_lost += 1
                    continue
                await self._open.wait()
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_INET:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@asynccontextmanager
async def proxy_to(target: Path | int) -> AsyncIterator[Proxy]:
    """A proxy to the unix socket, or to the port of 127.0.0.1, that `target` names."""
    proxy = Proxy(target)
    server = await proxy.serve()
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
