"""Hands items to a program in the same process, which takes them one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from crawler.model import Exported, OutboxEntry


class Handover:
    """Implements `Sink`. It stores nothing. An item counts as written when the program has taken it and asked for the
    next one."""

    location = ""
    inode = 0

    def __init__(self) -> None:
        self._items: deque[bytes] = deque()
        self._changed = asyncio.Event()  # items have come, or no more will
        self._taken = asyncio.Event()
        self._is_over = False

    async def take(self) -> bytes | None:
        """Return the next item, or None once no more will come. One task at a time may wait for it."""
        if not self._items:
            self._taken.set()
        while not self._items:
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()

    def end(self) -> None:
        """Let `take` return None when it has returned the rest."""
        self._is_over = True
        self._changed.set()

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Return no positions: it keeps none."""
        return {}

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Return when the program has taken all items, so that a slow one holds the crawl back."""
        items = [item for entry in entries for _, item in entry.numbered()]
        if items:
            self._items.extend(items)
            self._taken.clear()
            self._changed.set()
            await self._taken.wait()
        return len(items)

    async def finish(self) -> None:
        """Do nothing: all items are taken."""

    async def close(self) -> None:
        """Do nothing."""
