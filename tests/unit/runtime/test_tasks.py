"""Tasks that are told to end, end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from crawler.runtime.tasks import end


async def test_a_part_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    begun = asyncio.Event()

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def fails() -> None:
        raise OSError("no space left")

    parts = [asyncio.create_task(deaf()), asyncio.create_task(fails())]
    await begun.wait()
    await end(*parts)
    assert parts[0].cancelled()
    assert parts[1].done()
