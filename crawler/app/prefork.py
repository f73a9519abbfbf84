"""Forks the worker processes of a command, before its arguments are parsed and before any code of the user has run.

To start Python and import the modules of a worker takes each process 0.4 s of CPU; a fork takes a few milliseconds, and
shares the memory of the modules. Nothing of the user's is shared: each process loads the spiders for itself, and gets
the settings with its instructions.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from crawler.runtime.own_limits import sockets_left
from crawler.runtime.startup import lasting_imports
from crawler.worker.process import Preforked

_WITH_WORKERS = frozenset(("crawl", "worker"))  # commands that start worker processes
_SETTING = ("-s", "--set")
_HELP = frozenset(("-h", "--help"))
_DESCRIPTORS = 3  # that the command needs for each process: the line, the slot, and one to hear of its end


def prefork(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Preforked, Callable[[], int] | None]:
    """Fork as many processes as a command with these arguments will probably need, often none.

    Return them, and in each of them also the function that does its work and returns its exit code. Fork none where it
    is not safe: beside other threads, or without `pidfd_open` (Linux 5.3), by which the supervisor hears of their end.
    """
    wanted = _wanted(arguments, environment)
    if not wanted or threading.active_count() > 1 or not _has_pidfd():
        return Preforked(), None
    number = min(wanted, sockets_left() // _DESCRIPTORS)
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited: the system would not tell how a process ended
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with lasting_imports():  # the modules of a worker, once for all processes
        import crawler.app.start_worker
        import crawler.fetch.http  # noqa: F401
        from crawler.app.child import serve
    made: list[tuple[int, socket.socket]] = []
    with suppress(OSError):  # no more descriptors, processes or memory: the supervisor says what it cannot start
        while len(made) < number:
            pid, line = _fork()
            if not pid:
                for _, other in made:
                    other.close()
                return Preforked(), partial(serve, line)
            made.append((pid, line))
    return Preforked(*made), None


def _fork() -> tuple[int, socket.socket]:
    """Fork. Return the new process, 0 in that process itself, and this one's end of the line between them."""
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    (theirs if pid else ours).close()
    return pid, ours if pid else theirs


def _has_pidfd() -> bool:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):  # some builds of Python lack it
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an older kernel, or a sandbox
        return False
    return True


def _wanted(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """How many processes to fork. A guess, because settings.py has not been read: the supervisor ends those that are
    too many, and starts those that are missing."""
    pairs = list(zip(arguments, [*arguments, ""][1:], strict=True))
    given = [value for word, value in pairs if word in _SETTING]
    command = next((word for word in arguments if not word.startswith("-") and word not in given), "")
    if command not in _WITH_WORKERS or not _HELP.isdisjoint(arguments):
        return 0
    settings = {**environment, **{f"CRAWLER_{name}": value for name, _, value in (one.partition("=") for one in given)}}
    if (settings.get("CRAWLER_REDIS_URL") or settings.get("REDIS_URL", "")).startswith("memory:"):
        return 0  # its worker runs in the command's own process
    from crawler.settings import MAX_PROCESSES

    numbers = [word.partition("=")[2] or value for word, value in pairs if word.partition("=")[0] == "--processes"]
    wanted = numbers[-1] if numbers else settings.get("CRAWLER_PROCESSES", "")
    number = int(wanted[:6]) if wanted.isascii() and wanted.isdigit() else 0  # Python refuses thousands of digits
    cores = os.cpu_count() or 1
    return min(number, MAX_PROCESSES) or cores
