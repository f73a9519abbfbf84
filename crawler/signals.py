"""What SIGINT and SIGTERM mean: once, drain; twice, stop now."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

log = structlog.get_logger()

FORCED = {signal.SIGINT: 130, signal.SIGTERM: 143}  # exit codes, as a shell gives them


class Stoppable(Protocol):
    """A supervisor, or what stands in for one."""

    stopping: bool
    code_of_signal: int

    def stop(self, code: int = 0) -> None: ...


@contextmanager
def draining(crew: Stoppable) -> Iterator[None]:
    """First SIGINT or SIGTERM: drain. Second: hand back at once, and end with 130 or 143."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        again = crew.stopping
        crew.stop(FORCED[number] if again else 0)
        if not again:
            crew.code_of_signal = FORCED[number]
            log.info("stopping", why=number.name, again="once more: stop now")

    for number in FORCED:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in FORCED:
            loop.remove_signal_handler(number)


@contextmanager
def calling(stop: Callable[[], None]) -> Iterator[None]:
    """Any of the signals calls `stop`."""
    loop = asyncio.get_running_loop()
    for number in FORCED:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in FORCED:
            loop.remove_signal_handler(number)
