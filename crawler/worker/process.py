"""Worker processes as their supervisor sees them: forked when the command began, or started as a new Python.

A command that will need workers forks them before any code of the user has run (`app/prefork.py`). They import nothing
again, share the memory of what is imported, and wait for their instructions. A supervisor takes these first. It starts
Python anew where the command has forked too few, and in place of a process that has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Protocol

from crawler.runtime.startup import FOR_THE_SUPERVISOR


class Process(Protocol):
    """What a supervisor uses of a process: the same as `asyncio.subprocess.Process` has."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    @property
    def stdin(self) -> asyncio.StreamWriter | None: ...

    async def wait(self) -> int: ...

    def send_signal(self, signal: int, /) -> None: ...


class Forked:
    """A forked process that has been taken from `Preforked`."""

    def __init__(self, pid: int, stdin: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.stdin = stdin
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._watched = os.pidfd_open(pid)  # readable when the process has ended; the number stays its own until then
        self._loop.add_reader(self._watched, self._reap)

    async def wait(self) -> int:
        """Wait until the process has ended. Return its exit code, or the negative number of the signal."""
        code: int = await asyncio.shield(self._ended)
        with suppress(OSError):
            await self.stdin.wait_closed()
        return code

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        self._loop.remove_reader(self._watched)
        os.close(self._watched)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self.stdin.transport.abort()
        self._ended.set_result(self.returncode)


class Preforked:
    """The processes that wait, each with the socket that leads to it."""

    def __init__(self, *processes: tuple[int, socket.socket]) -> None:
        self._processes = list(processes)

    def __len__(self) -> int:
        return len(self._processes)

    async def take(self, slot: int) -> Forked | None:
        """Wake one of them; None if there is none. It gets the slot and the standard error of this process, which may
        have changed since the fork."""
        while self._processes:
            pid, line = self._processes.pop()
            try:
                socket.send_fds(line, [b"\n"], [slot, 2])
            except OSError:  # it was killed while it waited
                _end(pid, line)
                continue
            _, stdin = await asyncio.open_connection(sock=line)
            return Forked(pid, stdin)
        return None

    def keep(self, number: int) -> None:
        """Keep that many of them and end the others."""
        for pid, line in self._processes[number:]:
            _end(pid, line)
        del self._processes[number:]


def _end(pid: int, line: socket.socket) -> None:
    """End a process that waits, if it has not died."""
    line.close()
    os.kill(pid, signal.SIGKILL)  # it has nothing to lose, and its end is reaped here, so that the number is its own
    os.waitpid(pid, 0)


async def start_python(slot: int) -> asyncio.subprocess.Process:
    """Start a process that awaits instructions. It inherits blocked signals and unblocks them when it ignores them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_SUPERVISOR)
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crawler.app.child", stdin=asyncio.subprocess.PIPE, pass_fds=(slot,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_SUPERVISOR)
