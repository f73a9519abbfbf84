"""How a process starts: soon, and so that it can be interrupted. Imports nothing of the crawler: it comes first."""

from __future__ import annotations

import gc
import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# Whoever else they are sent to: worker processes ignore them, and stop when the supervisor says so.
FOR_THE_SUPERVISOR = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
STOP = b"s"  # what it says, through the pipe by which it gave its orders; the first means drain, the second at once


def end_at_interrupts() -> None:
    """Until `heed_interrupts`, a Ctrl-C ends this process at once: there is nothing to end well.

    Python would raise `KeyboardInterrupt` wherever it is, and lose it where nothing can be raised: in a destructor, in
    a callback of an import. Who has told us to ignore Ctrl-C (`nohup`) is obeyed.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def heed_interrupts() -> None:
    """From here on a Ctrl-C is a `KeyboardInterrupt`, as Python has it, or what asyncio makes of it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Unfailing(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def unfailing(descriptor: int) -> TextIO:
    """A text stream whose failures nobody notices: what a closed terminal or a full disk cannot take is lost."""
    file = io.BufferedWriter(_Unfailing(descriptor, "w", closefd=False))
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def survive_the_terminal() -> None:
    """From here on no message on stderr can fail: a crawl drains when its terminal is closed, and says so to nobody."""
    if sys.stderr is not None:
        sys.stderr = unfailing(2)


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Modules imported inside are never searched for garbage: they stay until the process ends.

    Searching them takes a sixth of the time of importing them, and as much again when the process ends.
    """
    gc.disable()
    try:
        _import_structlog()
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import_structlog() -> None:
    """Without rich, which it would load for coloured tracebacks that we never ask it for: 40 ms."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails now, and structlog does without
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
