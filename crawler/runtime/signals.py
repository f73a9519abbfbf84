"""What SIGINT, SIGTERM and SIGHUP mean: once, drain; twice, stop now. Worker processes ignore them, see `child`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import structlog

from crawler.errors import Exit
from crawler.runtime.tasks import end

log = structlog.get_logger()

Result = TypeVar("Result")

CODES = {signal.SIGHUP: Exit.HUNG_UP, signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


class Interrupted(KeyboardInterrupt):
    """A signal has ended what we did, and there was nothing to drain."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = CODES[number]


class Stoppable(Protocol):
    """A supervisor, or what stands in for one."""

    code_of_signal: int

    @property
    def stopping(self) -> bool: ...

    def stop(self, code: int = 0) -> None: ...


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run`, in which a signal ends what `main` does where nothing else is said. Raises `Interrupted` then."""
    return asyncio.run(_until_interrupted(main))


async def _until_interrupted(main: Coroutine[Any, Any, Result]) -> Result:
    working = asyncio.create_task(main)
    met: asyncio.Queue[signal.Signals] = asyncio.Queue()
    meeting = asyncio.create_task(met.get())
    with _heeding(met.put_nowait, *CODES):
        await asyncio.wait({working, meeting}, return_when=asyncio.FIRST_COMPLETED)
        await end(working)
    # What is left `asyncio.run` would cancel once and wait for: for ever, should that be lost.
    await end(*asyncio.all_tasks() - {asyncio.current_task()})
    if working.cancelled():
        raise Interrupted(meeting.result())
    return working.result()


@contextmanager
def draining(crew: Stoppable) -> Iterator[None]:
    """The first signal: drain. A second one: hand back at once, and end with its exit code.

    SIGHUP is never the second, nor is what comes after a SIGHUP: a terminal that closes, tmux and systemd (SendSIGHUP)
    send it together with another one.
    """
    hung_up = False  # by the first signal

    def stop(number: signal.Signals) -> None:
        nonlocal hung_up
        if number == signal.SIGHUP and crew.stopping:
            return
        again = crew.stopping and not hung_up
        hung_up = number == signal.SIGHUP
        if again:
            crew.stop(CODES[number])
        elif not crew.stopping:
            crew.stop()
            crew.code_of_signal = CODES[number]
            log.info("stopping", why=number.name, again="once more: stop now")

    with _heeding(stop, *CODES):
        yield


@contextmanager
def calling(stop: Callable[[], None]) -> Iterator[None]:
    """Any of the signals calls `stop`."""
    with _heeding(lambda _: stop(), *CODES):
        yield


@contextmanager
def _heeding(stop: Callable[[signal.Signals], object], *numbers: signal.Signals) -> Iterator[None]:
    """Each of these signals calls `stop`, but for a SIGHUP that we were started to ignore (`nohup`)."""
    loop = asyncio.get_running_loop()
    heeded = [n for n in numbers if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
