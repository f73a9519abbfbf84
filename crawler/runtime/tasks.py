"""Ending tasks, and knowing that one is being ended: libraries lose a cancellation now and then."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN = 0.5  # seconds between two cancellations of a task that went on


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks until all have ended. Ignore what they returned or raised.

    Once is not always enough: `asyncio.wait_for` of Python 3.11 and the queue client, while it opens a connection, lose
    a cancellation now and then. Without a second cancellation the task would go on, and whoever
    waits for it would wait for ever.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


def was_cancelled() -> bool:
    """Whether somebody has cancelled the current task, even if its `CancelledError` was lost on the way (see `end`)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
