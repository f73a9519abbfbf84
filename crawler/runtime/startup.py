"""Starts a process quickly and keeps it interruptible. Imports nothing of the crawler, because it runs first."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# Worker processes ignore these signals and stop when the supervisor tells them to.
FOR_THE_SUPERVISOR = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
STOP = b"s"  # the byte that the supervisor sends: the first drains the worker, a second stops it at once


def end_at_interrupts() -> None:
    """Let Ctrl-C end this process at once until `heed_interrupts`, because there is nothing to finish yet.

    Python would raise `KeyboardInterrupt` at an arbitrary point, and lose it where nothing can be raised: in a
    destructor or in a callback of an import. A process that was started to ignore Ctrl-C (`nohup`) goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def heed_interrupts() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again, as Python does by default, or do what asyncio makes of it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_with(parent: int, how: signal.Signals) -> None:
    """Let this process get that signal when its parent dies, however that dies: an orphan might run for ever."""
    if sys.platform == "linux":
        import ctypes  # few processes need it

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, how)
    if os.getppid() != parent:
        sys.exit(0)  # the parent died before this check


PARENT = "_CRAWLER_PARENT"
"""The variable by which a scheduler tells a command its process id: the command drains when that scheduler dies."""


def end_with_the_scheduler() -> None:
    """Let this process drain when the scheduler that started it dies; does nothing if none did."""
    if parent := os.environ.pop(PARENT, ""):
        end_with(int(parent), signal.SIGTERM)


def replace_closed_streams() -> None:
    """Replace the standard streams that the parent process has closed: by an empty input, and by output that nobody
    reads. So no file or socket gets their numbers, and no output is lost in silence."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        unread, inlet = os.pipe()
        os.dup2(unread if mode == "r" else inlet, descriptor)  # does nothing if it has this number already
        for one in {unread, inlet} - {descriptor}:
            os.close(one)
        setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - until the process ends


class _Unfailing(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def unfailing(descriptor: int) -> TextIO:
    """A text stream that never fails: it drops what a closed terminal or a full disk cannot take."""
    file = io.BufferedWriter(_Unfailing(descriptor, "w", closefd=False))
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def survive_the_terminal() -> None:
    """Replace stderr by a stream that never fails, so that a crawl drains although its terminal has closed."""
    if sys.stderr is not None:
        sys.stderr = unfailing(2)


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Exclude the modules imported inside from garbage collection: they stay until the process ends.

    Collecting them takes a sixth of the time of importing them, and as much again when the process ends.
    """
    gc.disable()
    try:
        _import_structlog()
        yield
    finally:
        gc.freeze()
        gc.enable()


_SPARED = ("rich", "twisted")
"""What structlog imports where it is installed, for output that the crawler never prints."""


def _import_structlog() -> None:
    """Import structlog without `_SPARED`, which takes longer than all else in it."""
    spared = [name for name in _SPARED if name not in sys.modules]
    for name in spared:
        sys.modules[name] = None  # type: ignore[assignment]  # makes its import fail, so structlog does without it
    try:
        import structlog  # noqa: F401
    finally:
        for name in spared:
            del sys.modules[name]
