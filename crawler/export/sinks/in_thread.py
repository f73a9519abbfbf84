"""Lets a sink that blocks, such as a file, work in a thread, so that a slow disk holds up nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from crawler.interfaces import WithColumns
from crawler.model import Exported, OutboxEntry


class BlockingSink(Protocol):
    """A `Sink` whose methods block."""

    @property
    def location(self) -> str: ...
    @property
    def inode(self) -> int: ...
    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to it. Change nothing."""

    def open(self, exported: Exported) -> Mapping[int, str]: ...
    def write(self, entries: Sequence[OutboxEntry]) -> int: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


class InThread:
    """Implements `Sink`."""

    def __init__(self, sink: BlockingSink) -> None:
        self._sink = sink

    @property
    def location(self) -> str:
        """Where the items go."""
        return self._sink.location

    @property
    def inode(self) -> int:
        """The file's inode; 0 if the sink is no file."""
        return self._sink.inode

    @property
    def values_left_out(self) -> int:
        """Values for which the sink has no column."""
        return self._sink.values_left_out if isinstance(self._sink, WithColumns) else 0

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to it. Change nothing."""
        self._sink.check()

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Open it."""
        return await asyncio.to_thread(self._sink.open, exported)

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Write the entries."""
        return await asyncio.to_thread(self._sink.write, entries)

    async def finish(self) -> None:
        """Put the items in their final place."""
        await asyncio.to_thread(self._sink.finish)

    async def close(self) -> None:
        """Close it, in this thread: a cancelled task cannot wait for another."""
        self._sink.close()
