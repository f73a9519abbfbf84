"""Ends tasks although libraries sometimes lose a cancellation, tells whether the current task was cancelled, and bounds
what awaits in a user's code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

AGAIN = 0.5  # seconds between two cancellations of a task that is still running


async def end(*tasks: asyncio.Task[Any], again: float = AGAIN) -> None:
    """Cancel the tasks, and `again` after so many seconds, until all have ended. Ignore what they returned or raised.

    One cancellation is not always enough: `asyncio.wait_for` of Python 3.11, and the queue client while it opens a
    connection, sometimes lose it. Without a second one the task would go on, and its caller would wait forever.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=again)
    await asyncio.gather(*tasks, return_exceptions=True)


def was_cancelled() -> bool:
    """Whether somebody has cancelled the current task, even if its `CancelledError` was lost on the way (see `end`)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def heed_cancellation() -> None:
    """Raise `CancelledError` if somebody has cancelled the current task and it was lost."""
    if was_cancelled():
        raise asyncio.CancelledError


@asynccontextmanager
async def within(seconds: float | None, who: str) -> AsyncIterator[None]:
    """Cancel what awaits in here after `seconds`, and raise a `TimeoutError` from the place where it did."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as late:
        if not limit.expired() or late.__cause__ is None:
            raise  # the spider's own
        why = f"{who} did not return within {seconds:g} s (CALLBACK_TIMEOUT)"
        raise TimeoutError(why).with_traceback(late.__cause__.__traceback__) from None
