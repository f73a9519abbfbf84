"""What a supervisor sends to a worker process: first its instructions, later the command to stop."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from msgspec import Struct

from crawler.runtime.startup import STOP
from crawler.settings import Settings
from crawler.worker.blame_slot import Making


class Instructions(Struct, frozen=True):
    """The instructions of a child. They travel through a pipe or a socket, so that no password appears in a process
    list."""

    worker: str
    slot: int  # file descriptor
    parent: int  # process id; the child ends when it is gone
    settings: Settings
    explicit: tuple[str, ...]  # settings a spider must not override
    folder: str
    jobs: tuple[str, ...]  # empty: all jobs
    queues: tuple[str, ...] = ()  # empty: those that `control/routes.py` says
    deadly: tuple[tuple[Making, str], ...] = ()  # spiders that the child must not make, and why

    def line(self) -> bytes:
        """The same as one line of ASCII. The standard library's JSON also carries the names of files and folders that
        are no UTF-8."""
        return json.dumps(msgspec.to_builtins(self)).encode() + b"\n"


def read_instructions(line: bytes) -> Instructions:
    """The instructions of such a line."""
    return msgspec.convert(json.loads(line), Instructions)


@contextmanager
def listening(pipe: int, stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` for each `STOP` that the supervisor sends, and twice when the pipe closes: the supervisor is gone."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        words = os.read(pipe, 64)
        if not words:
            loop.remove_reader(pipe)
        for _ in words or 2 * STOP:
            stop()

    loop.add_reader(pipe, hear)
    try:
        yield
    finally:
        loop.remove_reader(pipe)
