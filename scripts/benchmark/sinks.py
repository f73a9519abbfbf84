"""Measure the sinks alone: items a second, CPU of this process for an item, and its memory, with small items."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from crawler.app.config import Config
from crawler.app.sinks import sink
from crawler.export.target import Target
from crawler.model import Exported, Job, OutboxEntry
from crawler.settings import Settings

PAGES, ITEMS = 500, 10  # of one write: pages as many as EXPORT_BATCH, and items of each


def main(items: int, names: Sequence[str]) -> int:
    """Write so many items (a multiple of 5,000) to each output, which is replaced, and print a row for each."""
    config = Config(Settings(), {}, Path.cwd())
    print(f"{'output':40} {'items/s':>10} {'CPU µs/item':>12} {'MB more':>8}")
    for name in names:
        seconds, cpu, memory = asyncio.run(_measured(name, items, config))
        print(f"{name:40} {items / seconds:10,.0f} {cpu / items * 1e6:12.2f} {memory / 1e3:8.1f}")
    return 0


async def _measured(name: str, items: int, config: Config) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds, and kB by which the process grew after its first writes."""
    out = sink(config, Target(name, overwrite=True), Job("bench", epoch=f"{time.time_ns():x}", created=time.time()))
    await out.open(Exported())
    seconds = cpu = 0.0
    memory = 0
    for number, batch in enumerate(_batches(items)):
        began, used = time.perf_counter(), time.process_time()
        await out.write(batch)
        seconds, cpu = seconds + time.perf_counter() - began, cpu + time.process_time() - used
        memory = memory if number > 2 else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await out.finish()
    await out.close()
    return seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory


def _batches(items: int) -> Iterator[list[OutboxEntry]]:
    item = b'{"url":"https://shop.example/p/%08d","name":"Thing %d","price":%d.99,"tags":["a","b"],"in_stock":true}'
    for first in range(0, items, PAGES * ITEMS):
        yield [
            OutboxEntry(
                0, f"{page + 1}-0", tuple(item % (n, n, n % 100) for n in range(page, min(page + ITEMS, items)))
            )
            for page in range(first, first + PAGES * ITEMS, ITEMS)
        ]
