"""Items that a program takes one by one: a write ends only when it has taken them all."""

from __future__ import annotations

import asyncio

from crawler.export.sinks.handover import Handover
from crawler.model import Exported, OutboxEntry


def entries(*pages: tuple[bytes, ...]) -> list[OutboxEntry]:
    return [OutboxEntry(0, f"1-{number}", items) for number, items in enumerate(pages)]


async def test_a_write_ends_when_the_program_asks_for_more() -> None:
    handover = Handover()
    assert await handover.open(Exported()) == {}
    writing = asyncio.create_task(handover.write(entries((b"1", b"2"), (), (b"3",))))
    assert [await handover.take() for _ in range(3)] == [b"1", b"2", b"3"]
    await asyncio.sleep(0)
    assert not writing.done()  # the program may still be at work on the last one
    taking = asyncio.create_task(handover.take())
    assert await writing == 3
    handover.end()
    assert await taking is None
    assert await handover.take() is None


async def test_pages_without_items_wait_for_nobody() -> None:
    assert await Handover().write(entries((), ())) == 0


async def test_what_is_there_at_the_end_is_still_taken() -> None:
    handover = Handover()
    writing = asyncio.create_task(handover.write(entries((b"1",))))
    await asyncio.sleep(0)
    handover.end()
    assert [await handover.take(), await handover.take()] == [b"1", None]
    assert await writing == 1
