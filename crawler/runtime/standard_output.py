"""Keeps standard output for what the crawler prints itself: what a spider prints goes to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_programs: ContextVar[bool] = ContextVar("standard output is the program's", default=False)
_kept: list[int] = []  # the descriptor of standard output while other code may write to 1; empty otherwise


@contextmanager
def kept_from_users() -> Iterator[None]:
    """While a user's code may run, send what it writes to standard output, or lets a program write, to stderr."""
    if _kept or sys.stdout is None or _is_programs.get():
        yield
        return
    sys.stdout.flush()
    text, ours = sys.stdout, os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    _kept.append(ours)
    try:
        yield
    finally:
        _kept.clear()
        sys.stdout = text
        os.dup2(ours, 1)
        os.close(ours)


def leave_to_the_program() -> None:
    """Make `kept_from_users` do nothing in this task and those that it starts: they run in a program of the user's,
    whose standard output is its own."""
    _is_programs.set(True)


def descriptor() -> int:
    """Return the file descriptor of standard output."""
    return _kept[0] if _kept else sys.stdout.fileno()


def write_bytes(data: bytes) -> None:
    """Write all of it to standard output. With PYTHONUNBUFFERED one call of Python's may write a part."""
    sys.stdout.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()
