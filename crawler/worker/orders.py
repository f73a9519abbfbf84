"""What a supervisor tells a worker process through a pipe: its orders first, then when to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from crawler.runtime.startup import STOP
from crawler.settings import Settings


class Orders(Struct, frozen=True):
    """What a child must know; travels through a pipe, so that no password stands in a process list."""

    worker: str
    slot: int  # file descriptor
    parent: int  # process id: when it is gone, we go
    settings: Settings
    explicit: tuple[str, ...]  # settings a spider must not override
    folder: str
    jobs: tuple[str, ...]  # empty: all


@contextmanager
def listening(pipe: int, stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` for each `STOP` that the supervisor sends, and twice when the pipe ends, for then it is gone."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        words = os.read(pipe, 64)
        if not words:
            loop.remove_reader(pipe)
        for _ in words or 2 * STOP:
            stop()

    loop.add_reader(pipe, hear)
    try:
        yield
    finally:
        loop.remove_reader(pipe)
