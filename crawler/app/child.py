"""One worker process: reads its orders from standard input, works until told to stop. Started by the supervisor.

It ignores the signals that systemd, tmux and Ctrl-C send to every process: the supervisor decides what they mean, and
says so through the pipe that the orders came by.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec

from crawler.errors import CrawlerError
from crawler.runtime.own_limits import raise_file_limit
from crawler.runtime.startup import FOR_THE_SUPERVISOR, lasting_imports, survive_the_terminal
from crawler.worker.orders import Orders


def main() -> int:
    """Returns the exit code."""
    for number in FOR_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_SUPERVISOR)  # it started us with a deaf ear
    survive_the_terminal()
    pipe = _take_stdin()
    with open(pipe, "rb", buffering=0, closefd=False) as unbuffered:  # what comes behind the line stays in the pipe
        line = unbuffered.readline()
    if not line.endswith(b"\n"):
        return 0  # the supervisor was gone before it had said all
    orders = msgspec.json.decode(line, type=Orders)
    _end_with(orders.parent)
    raise_file_limit()
    os.chdir(Path(orders.folder))

    with lasting_imports():  # after the signal handling is in place
        import crawler.fetch.http  # noqa: F401 - of what `run_child` needs, the part that takes longest
        from crawler.app.start_worker import run_child
        from crawler.runtime.logs import configure

    configure(orders.settings.LOG_LEVEL, orders.settings.LOG_FORMAT)
    try:
        _run(run_child(orders, pipe))
    except CrawlerError as error:
        print(f"crawler: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _take_stdin() -> int:
    """The pipe for us alone: neither a spider nor a program that it starts shall read from it."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def _run(main: object) -> None:
    try:
        import uvloop  # not on every platform
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
    else:
        uvloop.run(main)  # type: ignore[arg-type]


def _end_with(parent: int) -> None:
    """Die when the supervisor does, however it dies: an orphan would go on for ever."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)  # it was gone before we asked


if __name__ == "__main__":
    sys.exit(main())
