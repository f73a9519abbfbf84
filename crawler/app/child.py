"""The main program of a worker process. The supervisor starts it, instructs it through standard input, and stops it.

The process ignores the signals that systemd, tmux and Ctrl-C send to every process: the supervisor interprets them
and sends "stop" through the pipe that brought the instructions.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from crawler.errors import CrawlerError, Exit
from crawler.runtime.own_limits import raise_file_limit
from crawler.runtime.startup import FOR_THE_SUPERVISOR, end_with, lasting_imports, survive_the_terminal
from crawler.worker.blame_slot import Slot
from crawler.worker.instructions import read_instructions


def main() -> int:
    """Run the worker process and return the exit code."""
    for number in FOR_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_SUPERVISOR)  # blocked since the start
    survive_the_terminal()
    os.dup2(2, 1)  # what a spider prints is no item
    sys.stdout = sys.stderr
    pipe = _take_stdin()
    with open(pipe, "rb", buffering=0, closefd=False) as unbuffered:  # what follows the line stays in the pipe
        line = unbuffered.readline()
    if not line.endswith(b"\n"):
        return 0  # the supervisor died before it had sent all instructions
    instructions = read_instructions(line)
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


def _take_stdin() -> int:
    """Move the pipe off standard input, so that neither a spider nor a program that it starts can read from it."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


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
