"""Limits the memory for large bodies: all requests of a process share it, and wait for each other if it is used up."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

FREE: Final = 512 * 1024
"""Largest body, in bytes, that the budget does not count, so that pages of the usual size never wait."""


class BodyBudget:
    """The bytes that all bodies larger than `FREE` may take at once. Serves waiting tasks in order of arrival."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._taken: dict[asyncio.Task[object], int] = {}
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int) -> None:
        """Wait until there is room for `amount` bytes; a body larger than the whole budget waits until it is alone.

        The bytes belong to the current task until it ends, when nobody needs the body any more.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        amount = min(amount, self._size)
        self.give_back(task)
        if self._waiting or amount > self._left:
            await self._turn(amount)
        else:
            self._left -= amount
        self._taken[task] = amount
        task.add_done_callback(self.give_back)

    def give_back(self, task: asyncio.Task[object]) -> None:
        """Return the bytes of the task to the budget. Does nothing if the task has none."""
        self._left += self._taken.pop(task, 0)
        self._serve()

    async def _turn(self, amount: int) -> None:
        served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, served))
        try:
            await served
        except asyncio.CancelledError:
            if served.done() and not served.cancelled():
                self._left += amount
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._left):
            amount, served = self._waiting.popleft()
            if not served.done():
                self._left -= amount
                served.set_result(None)
