"""A network that breaks at one chosen command: before it arrives, or after it was carried out and before its reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_GREETINGS = (b"HELLO", b"CLIENT", b"SELECT", b"AUTH")  # what a client says on a new connection
CHUNK = 1 << 20


class Cutter:
    """Passes commands on. They are asked and answered one at a time, so a chunk is a command, or one pipeline."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._port = 0
        self._left = 0  # commands to pass before the cut
        self._times = 0  # cuts to make
        self._made = 0
        self._arrives = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The server, as seen from behind this network."""
        return f"redis://127.0.0.1:{self._port}/0"

    def cut(self, *, after: int, arrives: bool, times: int) -> None:
        """Let so many commands pass, then cut the connection at the next ones."""
        self._left, self._times, self._made, self._arrives = after, times, 0, arrives

    def heal(self) -> bool:
        """Cut no more. Returns whether it came to a cut."""
        self._times = 0
        return self._made > 0

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self._port = server.sockets[0].getsockname()[1]
        return server

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        up_reader, up_writer = await asyncio.open_unix_connection(str(self._target), limit=CHUNK)
        try:
            with suppress(OSError, asyncio.CancelledError):
                while command := await reader.read(CHUNK):
                    cuts = self._is_next(command)
                    if cuts and not self._arrives:
                        return
                    up_writer.write(command)
                    reply = await up_reader.read(CHUNK)
                    if cuts:
                        return
                    writer.write(reply)
        finally:
            self._tasks.discard(task)
            up_writer.transport.abort()
            writer.transport.abort()

    def _is_next(self, command: bytes) -> bool:
        """Count it; whether this is the one."""
        if self._times == 0 or command.split(b"\r\n", 3)[2] in _GREETINGS:
            return False
        if self._left > 0:
            self._left -= 1
            return False
        self._times -= 1
        self._made += 1
        return True


@asynccontextmanager
async def cutter(target: Path) -> AsyncIterator[Cutter]:
    """A network in front of the unix socket `target`."""
    made = Cutter(target)
    server = await made.serve()
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
