"""What SIGINT, SIGTERM and SIGHUP do: the first drains, a second stops at once. Workers ignore them (`app.child`)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import structlog

from crawler.errors import ConfigError, Exit
from crawler.runtime.tasks import end
from crawler.runtime.tracebacks import error_in_words

log = structlog.get_logger()

Result = TypeVar("Result")

CODES = {signal.SIGHUP: Exit.HUNG_UP, signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


class Interrupted(KeyboardInterrupt):
    """A signal ended the command while there was nothing to drain."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = CODES[number]


class Stoppable(Protocol):
    """A supervisor, or its stand-in for `memory://`."""

    code_of_signal: int

    @property
    def stopping(self) -> bool: ...

    def stop(self, code: int = 0) -> None: ...


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Like `asyncio.run`, but a signal that nothing else handles cancels `main`. Raises `Interrupted` in that case, and
    `ConfigError` if a task or timer of the user's own raises `SystemExit`, whose code would be taken for the command's.
    """
    try:
        return asyncio.run(_until_interrupted(main))
    except SystemExit as error:
        raise ConfigError(f"your code ended the whole process: {error_in_words(error)}") from error


async def _until_interrupted(main: Coroutine[Any, Any, Result]) -> Result:
    working = asyncio.create_task(main)
    met: asyncio.Queue[signal.Signals] = asyncio.Queue()
    meeting = asyncio.create_task(met.get())
    with _heeding(met.put_nowait, *CODES):
        await asyncio.wait({working, meeting}, return_when=asyncio.FIRST_COMPLETED)
        await end(working)
    # `asyncio.run` would cancel the remaining tasks once and wait forever for a task that lost its cancellation.
    await end(*asyncio.all_tasks() - {asyncio.current_task()})
    if working.cancelled():
        raise Interrupted(meeting.result())
    return working.result()


@contextmanager
def draining(crew: Stoppable) -> Iterator[None]:
    """Drain on the first signal. On a second one hand everything back at once, and end with its exit code.

    A SIGHUP, or a signal that follows one, never counts as the second: closing terminals, tmux and systemd (SendSIGHUP)
    send it together with another signal.
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
    """Call `stop` on any of the signals."""
    with _heeding(lambda _: stop(), *CODES):
        yield


@contextmanager
def _heeding(stop: Callable[[signal.Signals], object], *numbers: signal.Signals) -> Iterator[None]:
    """Call `stop` on each of these signals, except on a SIGHUP that this process was started to ignore (`nohup`)."""
    loop = asyncio.get_running_loop()
    heeded = [n for n in numbers if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)
