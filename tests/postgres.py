"""Real PostgreSQL servers for tests: start one, kill it, start it again on the same data.

    with Postgres() as server:
        psycopg.connect(server.url)
        server.kill()       # like a power cut of all its processes
        server.start()      # same data, same address

Every server has its own data, socket and port of 127.0.0.1, and is gone at the end of the `with`, or of the
interpreter. It refuses to run as root; then it runs as the user `postgres` of Debian's package, which
`scripts/test-services` installs without its service.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.chaos.limits import small_disk
from tests.ports import free_port

START_SECONDS = 60.0
_DYING = "is still in use"  # what a server says while a killed one's last process dies

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

needs_postgres = pytest.mark.skipif(not _PROGRAMS, reason="no PostgreSQL: run scripts/test-services as root")
"""Marks tests that need a server."""

_CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
shared_buffers = 32MB
max_connections = 30
autovacuum = off
log_min_messages = fatal
fsync = {fsync}
"""


class Postgres:
    """One server, its data, and the superuser `crawler`, who needs no password."""

    def __init__(self, *, fsync: bool = False, access: str = "trust", disk: int = 0) -> None:
        """`fsync`: on where the machine of the server, and not its processes alone, is said to survive. `access`: how
        those who come by TCP say who they are, such as `scram-sha-256`. `disk`: kilobytes of a disk at `small`, which
        the server alone sees, and only root can give it."""
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.port = free_port()
        self.url = f"postgresql://crawler@127.0.0.1:{self.port}/postgres"
        self.socket_url = f"postgresql:///postgres?host={self.folder}&port={self.port}&user=crawler"
        self.small = self.folder / "small"  # a disk of its own, with `disk`
        self._as_user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        self._wrapper = small_disk(self.small, disk) if disk else ()
        self._data = self.folder / "data"
        self._fsync, self._access = fsync, access
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Postgres:
        atexit.register(self.close)
        self._run(
            "initdb", "-D", str(self._data), "-U", "crawler", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        config = _CONFIG.format(port=self.port, folder=self.folder, fsync="on" if self._fsync else "off")
        (self._data / "postgresql.conf").write_text(config)
        (self._data / "pg_hba.conf").write_text(f"local all all trust\nhost all all 127.0.0.1/32 {self._access}\n")
        if self._wrapper:
            self.small.mkdir()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server on its data, and return when it takes connections."""
        until = time.monotonic() + START_SECONDS
        self._launch()
        while subprocess.run([_PROGRAMS[-1] / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)]).returncode:
            said = (self.folder / "log").read_text()[-2000:]
            is_over = self._process is None or self._process.poll() is not None
            if time.monotonic() > until or (is_over and _DYING not in said[-400:]):
                raise RuntimeError(f"PostgreSQL did not start: {said}")
            time.sleep(0.02)
            if is_over:
                self._launch()

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrapper, *self._as_user, str(_PROGRAMS[-1] / "postgres"), "-D", str(self._data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )

    def kill(self) -> None:
        """End all processes of the server as a power cut does; what the kernel has stays."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Shut the server down, its clients included."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """Kill the server and delete its data."""
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to its children, each of which leads a session of its own."""
        if self._process is None:
            return
        children = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True).stdout
        for pid in (self._process.pid, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _run(self, program: str, *words: str) -> None:
        command = [*self._as_user, str(_PROGRAMS[-1] / program), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr
