"""The files of an archive on disk: one that grows, and the repair of what a killed worker has left.

A file that is being written ends with `.open`, and its writer holds a lock on it. At its end, and when its worker is
gone, it loses that ending.
"""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from crawler.errors import OutputError
from crawler.runtime.disk import sync_folder, write_all

log = structlog.get_logger()

ENDING: Final = ".warc.gz"
OPEN: Final = ".open"

_GZIP = 31  # zlib's word for a gzip wrapper with the largest window
_PIECE = 1024 * 1024  # bytes that are read, and decompressed, at once


class GrowingFile:
    """A file to which members are appended. What was added is on disk when `sync` returns; threads may share it."""

    def __init__(self, path: Path, first: bytes) -> None:
        """`path`: as it will be at the end. The file begins with the member `first`; `sync` makes it."""
        self.path = path
        self.size = 0  # with all that was added
        self.is_full = False  # it gets no more members, so `sync` ends it
        self._waiting: list[bytes] = []
        self._durable = 0  # bytes on disk
        self._file = -1
        self._lock = threading.Lock()
        self.add(first)

    def add(self, members: bytes) -> int:
        """Take members for the next `sync`. Return where they will begin."""
        offset = self.size
        self._waiting.append(members)
        self.size += len(members)
        return offset

    def sync(self) -> bool:
        """Write what was added and wait for the disk. Return whether the file is at its end. Raise `OutputError`: then
        all of it still waits."""
        try:
            with self._lock:
                if self._waiting:
                    self._write()
                if not self.is_full or self._waiting:  # some came while it was written
                    return False
                self._end()
                return True
        except OSError as error:
            raise OutputError(
                f"WARC_DIR: pages cannot be written to {self.path}: {error.strerror}; they wait, nothing is lost"
            ) from None

    @property
    def _open_path(self) -> Path:
        return self.path.with_name(self.path.name + OPEN)

    def _write(self) -> None:
        if self._file < 0:
            self._file = _made(self._open_path)
        waiting = self._waiting[:]  # more may come meanwhile
        block = b"".join(waiting)
        try:
            write_all(self._file, block)
            os.fdatasync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._durable)
            os.lseek(self._file, self._durable, os.SEEK_SET)
            raise
        self._durable += len(block)
        del self._waiting[: len(waiting)]

    def _end(self) -> None:
        os.rename(self._open_path, self.path)
        sync_folder(self.path.parent)
        os.close(self._file)


def repair(folder: Path) -> None:
    """End the files that killed workers have left: cut a torn last member, and take the ending off the name.

    Files of workers that live are left alone. Raise `OSError`.
    """
    for path in folder.glob(f"*{ENDING}{OPEN}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _has_name(path, file.fileno()):  # otherwise somebody else has ended it
                _repair(path, file)


def _made(path: Path) -> int:
    """Make the file, locked. A repair may take one away whose lock is not there yet."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _has_name(path, file):
                sync_folder(path.parent)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _has_name(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _repair(path: Path, file: BinaryIO) -> None:
    whole, size = _whole(file), os.fstat(file.fileno()).st_size
    if not whole:
        path.unlink()
        return
    os.ftruncate(file.fileno(), whole)
    os.fsync(file.fileno())
    final = path.with_name(path.name.removesuffix(OPEN))
    path.rename(final)
    sync_folder(path.parent)
    log.info("archive_repaired", file=str(final), cut=size - whole, why="its worker did not close it")


def _whole(file: BinaryIO) -> int:
    """Return the bytes of all whole members."""
    whole = at = 0
    member = zlib.decompressobj(_GZIP)
    rest = b""
    while rest or (rest := file.read(_PIECE)):
        try:
            member.decompress(rest, _PIECE)
        except zlib.error:
            break
        left = member.unused_data if member.eof else member.unconsumed_tail
        at += len(rest) - len(left)
        rest = left
        if member.eof:
            whole, member = at, zlib.decompressobj(_GZIP)
    return whole
