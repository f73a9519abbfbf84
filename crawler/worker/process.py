"""Worker processes as their supervisor sees them: forked when the command began, or started as a new Python.

A command that will need workers forks them before any code of the user has run (`app/prefork.py`). They import nothing
again, share the memory of what is imported, and wait for their instructions. A supervisor takes these first. It starts
Python anew where the command has forked too few, and in place of a process that has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
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


UNKNOWN_CODE = 255
"""The exit code of a process that somebody else has reaped, as in asyncio."""


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
        return code

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        self._loop.remove_reader(self._watched)
        os.close(self._watched)
        try:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            self.returncode = UNKNOWN_CODE
        self.stdin.transport.abort()
        self._ended.set_result(self.returncode)


class Preforked:
    """The processes that wait, each with the socket that leads to it."""

    def __init__(self, *processes: tuple[int, socket.socket]) -> None:
        self._processes = list(processes)
        self._environment = dict(os.environ) if processes else {}
        self._inherited = _inherited() if processes else None

    def __len__(self) -> int:
        return len(self._processes)

    async def take(self, slot: int) -> Forked | None:
        """Wake one of them; None if there is none. It gets the slot, and what may have changed since the fork: the
        standard error and the environment of this process."""
        while self._processes:
            pid, line = self._processes.pop()
            try:
                socket.send_fds(line, [b"\n"], [slot, 2])
            except OSError:  # it was killed while it waited
                _end(pid, line)
                continue
            _, stdin = await asyncio.open_connection(sock=line)
            stdin.write(json.dumps(self._changes()).encode() + b"\n")
            return Forked(pid, stdin)
        return None

    def _changes(self) -> dict[str, str | None]:
        """The variables of the environment that differ from those at the fork; None: removed since."""
        before, now = self._environment, os.environ
        return {name: now.get(name) for name in {*before, *now} if name and before.get(name) != now.get(name)}

    def keep(self, number: int) -> None:
        """Keep that many of them and end the others; all of them, if settings.py has changed something of this process
        that only a new Python would inherit."""
        if self._processes and _inherited() != self._inherited:
            number = 0
        for pid, line in self._processes[number:]:
            _end(pid, line)
        del self._processes[number:]


def _end(pid: int, line: socket.socket) -> None:
    """End a process that waits, if it has not died."""
    line.close()
    with suppress(ProcessLookupError, ChildProcessError):  # somebody else has reaped it
        os.kill(pid, signal.SIGKILL)  # it has nothing to lose
        os.waitpid(pid, 0)


def _inherited() -> object:
    """What a new Python takes over from this process, besides its folder and the rest of its environment."""
    mask = os.umask(0o077)
    os.umask(mask)
    limits = [resource.getrlimit(number) for name, number in vars(resource).items() if name.startswith("RLIMIT_")]
    at_start = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    return mask, limits, os.nice(0), os.getresuid(), os.getresgid(), os.getgroups(), at_start


async def start_python(slot: int) -> asyncio.subprocess.Process:
    """Start a process that awaits instructions. It inherits blocked signals and unblocks them when it ignores them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_SUPERVISOR)
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crawler.app.child", stdin=asyncio.subprocess.PIPE, pass_fds=(slot,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_SUPERVISOR)
