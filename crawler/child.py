"""One worker process: reads its orders from standard input, works until told to stop. Started by the supervisor."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from crawler.errors import CrawlerError
from crawler.settings import Settings
from crawler.startup import lasting_imports


class Orders(Struct, frozen=True):
    """What a child must know; travels through a pipe, so that no password stands in a process list."""

    worker: str
    slot: int  # file descriptor
    parent: int  # process id: when it is gone, we go
    settings: Settings
    explicit: tuple[str, ...]  # settings a spider must not override
    folder: str
    jobs: tuple[str, ...]  # empty: all


def main() -> int:
    """Returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the supervisor tells us
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # it started us with a deaf ear
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    _end_with(orders.parent)
    os.chdir(Path(orders.folder))

    with lasting_imports():  # after the signal handling is in place
        import crawler.fetch.http  # noqa: F401 - of what `run_child` needs, the part that takes longest
        from crawler.logs import configure
        from crawler.wiring import run_child

    configure(orders.settings.LOG_LEVEL, orders.settings.LOG_FORMAT)
    try:
        _run(run_child(orders))
    except CrawlerError as error:
        print(f"crawler: {error}", file=sys.stderr)
        return error.exit_code
    return 0


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
