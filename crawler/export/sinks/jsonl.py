"""Items as JSON lines in a file. Position and items are the same bytes, so neither can exist without the other.

Opening the file repairs what a crash left: it cuts a torn last line, and the first items of a page whose last item
is missing. The exporter then continues after the last whole page.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from crawler.errors import OutputClosed, OutputError
from crawler.export.sinks import position
from crawler.model import OutboxEntry


class JsonlSink:
    """Implements `Sink` on a file. `overwrite` empties the file first, unless it holds items of this job."""

    def __init__(self, path: Path, epoch: str, *, overwrite: bool = False) -> None:
        self._path = path
        self._epoch = epoch
        self._overwrite = overwrite
        self._file = -1
        self._size = 0  # bytes known to be whole and durable
        self._positions: dict[int, str] = {}

    def open(self) -> Mapping[int, str]:
        """Lock and repair the file; return the positions found in it. Raise `OutputError`."""
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write items to {self._path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            self._file = -1
            raise OutputError(f"another exporter is writing to {self._path}; stop it, or name another file") from None
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            self._repair()
        return dict(self._positions)

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Append the items, wait for the disk, return their number. On failure, restore the file and raise."""
        positions = dict(self._positions)
        block = list(position.lines(entries, self._epoch, positions))
        try:
            self._append(b"".join(block))
        except OSError as error:
            with suppress(OSError):  # otherwise the next attempt cuts it
                self._cut(self._size)
            raise OutputError(f"cannot write items to {self._path}: {error.strerror}; nothing is lost") from None
        self._positions = positions
        return len(block)

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, block: bytes) -> None:
        self._cut(self._size)
        written = 0
        while written < len(block):
            written += os.write(self._file, memoryview(block)[written:])
        try:
            os.fdatasync(self._file)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a device or a pipe has nothing to sync
                raise
        self._size += len(block)

    def _repair(self) -> None:
        size = os.fstat(self._file).st_size
        if size:
            with mmap.mmap(self._file, size, access=mmap.ACCESS_READ) as data:
                self._positions, keep, newline = _survey(data, self._epoch, self._path)
            if self._overwrite and not self._positions:
                keep, newline = 0, False
            self._cut(keep)
            if newline:
                os.pwrite(self._file, b"\n", keep)
                keep += 1
            size = keep
        self._size = size
        os.lseek(self._file, size, os.SEEK_SET)

    def _cut(self, size: int) -> None:
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            os.ftruncate(self._file, size)
            os.lseek(self._file, size, os.SEEK_SET)


class StdoutSink:
    """Implements `Sink` on standard output. A pipe keeps no position: after a crash a batch may be printed twice."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._positions: dict[int, str] = {}
        self._unprinted = b""  # lines of entries whose positions are already recorded
        self._items = 0  # items in `_unprinted`, or partly printed

    def open(self) -> Mapping[int, str]:
        """Return no positions: a pipe keeps none."""
        return {}

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Print the items. Keep the bytes that a full disk refuses, and print them first at the next call."""
        block = list(position.lines(entries, self._epoch, self._positions))
        self._unprinted += b"".join(block)
        self._items += len(block)
        try:
            while self._unprinted:
                written = os.write(sys.stdout.fileno(), self._unprinted)
                self._unprinted = self._unprinted[written:]
        except BrokenPipeError:
            raise OutputClosed("standard output was closed; what was not printed stays in the outbox") from None
        except OSError as error:
            raise OutputError(f"cannot write items to standard output: {error.strerror}") from None
        printed, self._items = self._items, 0
        return printed

    def close(self) -> None:
        """Do nothing: standard output stays open."""


def _survey(data: mmap.mmap, epoch: str, path: Path) -> tuple[dict[int, str], int, bool]:
    """Return (positions of the last whole page of this job, bytes to keep, whether to add a line break)."""
    whole = data.rfind(b"\n") + 1
    mark = position.KEY + epoch.encode() + b" "
    end, torn_page = whole, whole
    positions_found = None
    while positions_found is None and (at := data.rfind(mark, 0, end)) >= 0:
        start = data.rfind(b"\n", 0, at) + 1
        stop = data.find(b"\n", at) + 1
        positions_found = position.read(data[start:stop], epoch)
        if positions_found is None:
            # first items of a page whose last item is missing: cut them, unless something was appended after them
            end, torn_page = start, start if stop == torn_page else torn_page
    if torn_page < whole:
        return dict(positions_found or {}), torn_page, False
    return dict(positions_found or {}), *_ending(data[whole:], whole, mark, path)


def _ending(tail: bytes, whole: int, mark: bytes, path: Path) -> tuple[int, bool]:
    """Decide about the bytes after the last line break. Return (bytes of the file to keep, whether to add one)."""
    if not tail or mark in tail:
        return whole, False
    try:
        msgspec.json.decode(tail)
    except ValueError:  # bad JSON (msgspec), or bad UTF-8
        if position.KEY in tail or tail[:1] == b"{":
            return whole, False
        raise OutputError(
            f"{path} does not end with a line break and was not written by an export; name another file"
        ) from None
    return whole + len(tail), True  # another program's last line, complete except for its line break
