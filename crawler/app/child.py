"""The main program of a worker process. The supervisor instructs it and stops it, through standard input if it was
started as a new Python, through a socket if the command has forked it.

The process ignores the signals that systemd, tmux and Ctrl-C send to every process: the supervisor interprets them
and sends "stop" the way that it sent the instructions.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from crawler.errors import CrawlerError, Exit
from crawler.runtime.own_limits import raise_file_limit
from crawler.runtime.startup import FOR_THE_SUPERVISOR, end_with, lasting_imports, survive_the_terminal
from crawler.worker.blame_slot import Slot
from crawler.worker.instructions import read_instructions


def main() -> int:
    """Run a worker process that was started as a new Python. Return the exit code."""
    _leave_signals_to_the_supervisor()
    pipe = os.dup(0)
    _detach()
    return _work(pipe)


def serve(line: socket.socket) -> int:
    """Run a worker process that a command has forked, once the supervisor wakes it through `line`. Return the exit
    code."""
    end = _QuickEnd()
    _leave_signals_to_the_supervisor()
    _detach()
    with line:
        slot = _woken(line)
        if slot is None:
            end.code = Exit.DONE
        else:
            _change_environment(_read_line(line.fileno()))
            end.code = _work(line.fileno(), slot)
    return end.code


def _woken(line: socket.socket) -> int | None:
    """Wait for the slot and for standard error. Return the slot's descriptor; None if the command ends, or needs no
    worker."""
    try:
        slot, errors = socket.recv_fds(line, 1, 2)[1]
    except (ConnectionError, ValueError):
        return None
    os.dup2(errors, 2)
    os.dup2(errors, 1)
    os.close(errors)
    return slot


def _change_environment(line: bytes) -> None:
    """Do to the environment what settings.py has done to the command's since the fork."""
    for name, value in json.loads(line or b"{}").items():  # empty: the supervisor died
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    time.tzset()


class _QuickEnd:
    """Ends this process after its threads and after what the spiders' code has registered with `atexit`, but before the
    interpreter frees each object: that would copy all memory that a forked process shares."""

    def __init__(self) -> None:
        self.code: int = Exit.FAILED  # of an error that nobody has caught
        atexit.register(self._end)  # called last: after all that is registered later

    def _end(self) -> None:
        logging.shutdown()  # it was registered before the fork
        sys.stderr.flush()
        os._exit(self.code)


def _work(pipe: int, slot: int | None = None) -> int:
    """Read the instructions and follow them. `slot`: the number that the slot's descriptor has in this process, if it
    is not the supervisor's."""
    line = _read_line(pipe)
    if not line.endswith(b"\n"):
        return 0  # the supervisor died before it had sent all instructions
    instructions = read_instructions(line)
    if slot is not None:
        instructions = replace(instructions, slot=slot)
    end_with(instructions.parent, signal.SIGKILL)
    raise_file_limit()
    os.chdir(Path(instructions.folder))

    with lasting_imports():  # after the signal handling is in place
        import crawler.fetch.http  # noqa: F401 - the slowest import that `run_child` needs
        from crawler.app.start_worker import run_child
        from crawler.runtime.logs import configure, log_file

    code: int = Exit.DONE
    try:
        settings = instructions.settings
        configure(settings.LOG_LEVEL, settings.LOG_RENDERER, log_file(settings.LOG_FILE))
        _run(run_child(instructions, pipe))
    except CrawlerError as error:
        print(f"crawler: {error}", file=sys.stderr)
        code = error.exit_code
    Slot(instructions.slot).end()
    return code


def _read_line(pipe: int) -> bytes:
    with open(pipe, "rb", buffering=0, closefd=False) as unbuffered:  # what follows the line stays in the pipe
        return unbuffered.readline()


def _leave_signals_to_the_supervisor() -> None:
    for number in FOR_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_SUPERVISOR)  # blocked since a start


def _detach() -> None:
    """Take standard input and output from spiders and the programs that they start: the supervisor's pipe is no input,
    and what they print is no item."""
    survive_the_terminal()
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run the worker. Where a task or timer of the spider's own raises `SystemExit`, the process ends at once, because
    an orderly end would empty the slot, which names the page to blame."""
    with asyncio.Runner(loop_factory=_new_event_loop()) as runner:
        try:
            runner.run(main)
        except (SystemExit, KeyboardInterrupt) as error:
            traceback.print_exc()
            code = getattr(error, "code", None)
            os._exit(code if isinstance(code, int) else Exit.FAILED)


def _new_event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
