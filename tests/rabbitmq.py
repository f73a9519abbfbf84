"""Real RabbitMQ brokers for tests: start one, kill it, start it again on the same data, raise its memory alarm.

    with RabbitMQ() as broker:
        async with await broker.connect() as connection: ...
        broker.kill()       # like a power cut of the process
        broker.start()      # same data, same address

Every broker is a node of its own: own name, own epmd, own cookie and data, loopback only, one scheduler. It is gone at
the end of the `with`, or of the interpreter. `scripts/test-services` installs Debian's package without its service.
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
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_ports

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

START_SECONDS = 60.0
PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # not those on PATH, which change to the user `rabbitmq`

needs_rabbitmq = pytest.mark.skipif(
    not (PROGRAMS / "rabbitmq-server").exists(), reason="no rabbitmq-server: run scripts/test-services as root"
)
"""Marks tests that need a broker."""

_CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
stream.listeners.tcp.1 = 127.0.0.1:{stream_port}
loopback_users.guest = true
vm_memory_high_watermark.absolute = 256MB
disk_free_limit.absolute = 1MB
log.console = false
"""


class RabbitMQ:
    """One broker process and its data. `stream_port` serves the stream protocol if `streams` is true."""

    def __init__(self, *, streams: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mq-"))
        self.port, self.stream_port, self._epmd_port, self._node_port = free_ports(4)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        (self.folder / "rabbitmq.conf").write_text(
            _CONFIG.format(port=self.port, stream_port=self.stream_port)
            if streams
            else _CONFIG.format(port=self.port, stream_port=self.stream_port).replace("stream.", "# stream.")
        )
        (self.folder / "plugins").write_text("[rabbitmq_stream]." if streams else "[].")
        (self.folder / "advanced.config").write_text("[].")
        self._ports = (self.port, self.stream_port) if streams else (self.port,)
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),  # for the cookie
            "RABBITMQ_NODENAME": f"n{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._epmd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RabbitMQ:
        atexit.register(self.close)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the broker on its data, and return when it takes connections."""
        if self._epmd is None:
            self._epmd = self._run("epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1")
        self._processes.append(self._run(str(PROGRAMS / "rabbitmq-server")))
        until = time.monotonic() + START_SECONDS
        while not (all(map(_answers, self._ports)) and _greets(self.port)):
            if self._processes[-1].poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"rabbitmq-server did not start: {(self.folder / 'out').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the broker as a power cut of its process does."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    async def connect(self) -> AbstractConnection:
        """Connect as the crawler does: a connection whose opening a kill or a timeout ended may be collected in any
        thread, where aio-pika's own class warns that `close()` was never awaited."""
        import aio_pika  # here: tests that need no broker run without the extra

        from crawler.amqp.connection import Connection

        return await aio_pika.connect(self.url, connection_class=Connection)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP, to the broker."""
        for process in self._processes:
            os.killpg(process.pid, number)

    def freeze(self, seconds: float) -> None:
        """Stop the broker's process for that long: its connections stay, and nobody answers."""
        self.signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.signal(signal.SIGCONT)

    @property
    def pids(self) -> list[int]:
        """The broker's processes, to read the CPU time that they have used."""
        return [int(word) for one in self._processes for word in _in_group(one.pid)]

    def control(self, *words: str) -> str:
        """Run `rabbitmqctl` with these words. Return what it prints."""
        command = [str(PROGRAMS / "rabbitmqctl"), "--quiet", *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    def alarm(self, raised: bool) -> None:
        """Raise or end the memory alarm, which blocks all connections that publish."""
        self.control("set_vm_memory_high_watermark", *(("0.000001",) if raised else ("absolute", "256MB")))

    def close(self) -> None:
        """Kill the broker and delete its data."""
        atexit.unregister(self.close)
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                command,
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _greets(port: int) -> bool:
    """Whether the broker begins a conversation; while it starts, it resets connections that it has taken."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return bool(connection.recv(1))
    return False


def _in_group(group: int) -> list[str]:
    return subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True).stdout.split()
