"""The guardian of an embedded server: starts it, restarts it when it dies, stops it when nobody uses it.

It is a separate process, which runs this file without any package so that it stays small. It works with these files in
the server's data folder:

users        each user of the server holds a shared lock on it; the kernel releases the lock however the process ends
guardian     the running guardian holds an exclusive lock on it; contains its process id and host
server       the running server holds an exclusive lock on it, so no second server works on the same data; contains its
             process id
starting     locked while a command makes sure that guardian and server are running
keep         if it exists, the server stays without users until somebody stops it
valkey.conf  the server's configuration;  server.log  the latest output of the server and the guardian
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time

UNUSED_SECONDS = 2.0  # a server without users stops after this; commands in a row find it running
TICK_SECONDS = 0.2
STARTING_TICK_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 10.0  # before another start of a server that dies again and again
STOP = signal.SIGUSR1  # tells a guardian to stop the server even if it is used or kept
STOP_SECONDS = 60.0  # for the server to write its log to the disk; after that the guardian kills it


def ask(address: str, command: str, timeout: float = 2.0) -> str:
    """Send a command to the server at this unix socket and return its reply: `+OK`, `-ERR …`, or the text of a bulk
    string; empty if nobody answers.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(address)
            connection.sendall(command.encode() + b"\r\n")
            with connection.makefile("rb") as reply:
                head = reply.readline().decode()
                return reply.read(int(head[1:])).decode() if head.startswith("$") else head.rstrip()
    except (OSError, ValueError):
        return ""


def info(address: str) -> dict[str, str]:
    """The server's INFO; empty if nobody answers."""
    lines = ask(address, "INFO").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def holder(path: str) -> list[str]:
    """The words that the running holder of this file's lock wrote, its process id first; empty if nobody holds it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return _holder_of(file)
    finally:
        os.close(file)


def _holder_of(file: int) -> list[str]:
    """Do the same for an open file, which may have been removed.

    Unlike a process id alone, this is never wrong for a zombie, nor when the system reuses the number.
    """
    while not try_lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB):
        if words := os.pread(file, 300, 0).decode().split():
            return words
        time.sleep(0.005)  # it has the lock and is about to write
    fcntl.flock(file, fcntl.LOCK_UN)
    return []


def server_pid(folder: str) -> int:
    """The process id of the server that works on this folder's data; 0 if none does."""
    words = holder(os.path.join(folder, "server"))
    return int(words[0]) if words else 0


def _pid_in(server: int) -> int:
    words = _holder_of(server)
    return int(words[0]) if words else 0


def open_locked(path: str, operation: int) -> int | None:
    """Open the file, create it if it is missing, and lock it. None if `LOCK_NB` was given and the lock is taken."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if try_lock(file, operation):
        return file
    os.close(file)
    return None


def try_lock(file: int, operation: int) -> bool:
    """Take the lock, and wait for it unless `LOCK_NB` is given. False if it is taken."""
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    return True


def terminate(server: int) -> None:
    """End the server that holds the lock on this open file. SIGTERM makes it write its log to the disk first."""
    deadline = time.monotonic() + STOP_SECONDS
    sent = None
    while pid := _pid_in(server):
        wanted = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        if sent != wanted:
            os.kill(pid, wanted)
            sent = wanted
        time.sleep(0.02)


class Guardian:
    """Watches one server for one data folder."""

    def __init__(self, folder: str, binary: str, address: str, allocator: str = "") -> None:
        """`allocator`: a library to load in front of the program; empty for none."""
        self._folder = folder
        self._binary = binary
        self._address = address
        self._environment = {**os.environ, **({"LD_PRELOAD": allocator} if allocator else {})}
        self._keep = os.path.join(folder, "keep")
        self._told_to_stop = False  # at once, whoever uses the server
        self._patience = UNUSED_SECONDS
        self._unused_since: float | None = None

    def run(self) -> int:
        """Run until nobody uses the server or somebody stops it. Returns 1 if it could not be started."""
        signal.signal(STOP, self._stop)
        signal.signal(signal.SIGTERM, self._end_soon)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies; the server's lock says whether it lives
        users = self._opened("users")
        self._server = self._opened("server")  # kept open: the folder may be removed
        proven = bool(_pid_in(self._server))  # a guardian that was killed left it running
        if not proven:
            self._forget_keep()  # it belonged to a server that has ended, perhaps with the machine
            self._start()
        ready = False
        pause = TICK_SECONDS
        while not (self._told_to_stop or self._removed() or self._unused(users)):
            if not _pid_in(self._server):
                if not proven:
                    return 1
                print("guardian: the server died, starting it again", flush=True)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self._start()
                ready = False
            elif not ready and ask(self._address, "PING") == "+PONG":
                ready = proven = True
                pause = TICK_SECONDS
            time.sleep(TICK_SECONDS if ready else STARTING_TICK_SECONDS)
        # If nobody used it, this process holds the lock on `users` until it ends: a new user waits, then starts anew.
        terminate(self._server)
        return 0

    def _opened(self, name: str) -> int:
        return os.open(os.path.join(self._folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _removed(self) -> bool:
        """Whether somebody removed the data's folder: nobody can reach the server any more."""
        return os.fstat(self._server).st_nlink == 0

    def _start(self) -> None:
        """Start the server with the lock on `server`, which it alone inherits."""
        lock = open_locked(os.path.join(self._folder, "server"), fcntl.LOCK_EX)
        assert lock is not None  # noqa: S101 - without LOCK_NB it waits
        os.ftruncate(lock, 0)
        os.set_inheritable(lock, True)
        arguments = [self._binary, os.path.join(self._folder, "valkey.conf")]
        ignored = [signal.SIGCHLD, signal.SIGINT, signal.SIGHUP]  # by the guardian; the server handles them itself
        pid = os.posix_spawn(self._binary, arguments, self._environment, setsigdef=ignored)
        os.pwrite(lock, f"{pid}\n".encode(), 0)
        os.close(lock)

    def _forget_keep(self) -> None:
        if os.path.exists(self._keep):
            os.unlink(self._keep)

    def _stop(self, *_: object) -> None:
        self._told_to_stop = True

    def _end_soon(self, *_: object) -> None:
        """systemd and a shutdown send SIGTERM to users and server alike: let the users end first."""
        self._forget_keep()
        self._patience = 0.0

    def _unused(self, users: int) -> bool:
        """Whether nobody has used the server for a while. If so, this process now holds the lock on `users`."""
        if os.path.exists(self._keep) or not try_lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._unused_since = None
            return False
        now = time.monotonic()
        self._unused_since = self._unused_since or now
        if now - self._unused_since >= self._patience:
            return True
        fcntl.flock(users, fcntl.LOCK_UN)
        return False


def main(folder: str, binary: str, address: str, allocator: str = "") -> int:
    """Become the guardian in the background. The caller returns as soon as the guardian holds its lock."""
    lock = open_locked(os.path.join(folder, "guardian"), fcntl.LOCK_EX)
    assert lock is not None  # noqa: S101 - without LOCK_NB it waits
    os.ftruncate(lock, 0)
    if os.fork():
        return 0
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.pwrite(lock, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    try:
        return Guardian(folder, binary, address, allocator).run()
    except OSError as error:
        print(f"guardian: {error}", flush=True)  # into the log that a command waiting for the server reads
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
