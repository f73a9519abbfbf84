"""How a process starts: soon, and so that it can be interrupted. Imports nothing of the crawler: it comes first."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
