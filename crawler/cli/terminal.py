"""A live picture at the bottom of the terminal; everything written to stderr in the meantime appears above it.

Worker processes inherit stderr. To keep their lines from tearing the picture, a pipe replaces stderr while the
picture is shown, and a thread prints what arrives through it. Stdout is not touched: the items may go there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from crawler.runtime.safe_text import shown
from crawler.runtime.startup import unfailing

_END = "\x00end of the picture\n"  # no line of a log holds a NUL: control characters are escaped there
_STYLES = {"[error": "red", "[critical": "red", "[warning": "yellow"}


@contextmanager
def live_picture() -> Iterator[Callable[[RenderableType], None]]:
    """Yield the function that replaces the picture with a new one. The picture disappears at the end."""
    with _pipe_for_stderr() as (console, outlet):
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
        with live, _lines_above(console, outlet):
            yield lambda picture: live.update(picture, refresh=True)


@contextmanager
def _pipe_for_stderr() -> Iterator[tuple[Console, int]]:
    """Yield a console on the real stderr, and the read end of the pipe that replaces it."""
    sys.stderr.flush()
    terminal = os.dup(2)
    outlet, inlet = os.pipe()
    os.dup2(inlet, 2)
    os.close(inlet)
    try:
        with unfailing(terminal) as stream:
            yield Console(file=stream, highlight=False, emoji=False, markup=False), outlet
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


@contextmanager
def _lines_above(console: Console, outlet: int) -> Iterator[None]:
    """Print every line that arrives through the pipe above the picture."""
    thread = threading.Thread(target=_print_lines, args=(console, outlet), name="stderr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.write(2, _END.encode())
        thread.join(timeout=2.0)


def _print_lines(console: Console, outlet: int) -> None:
    with open(outlet, encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            if line.endswith(_END):
                return
            console.print(Text(shown(line.rstrip("\n")), style=style_of(line), overflow="fold"))


def style_of(line: str) -> str:
    """The colour of a log line's level."""
    return next((style for mark, style in _STYLES.items() if mark in line), "dim")
