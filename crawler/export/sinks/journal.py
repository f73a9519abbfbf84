"""A file of items that wait to be part of a larger file, and of the position behind them. Both become durable at once.

One line for each item, and behind each batch a line `#POSITION`. What stands behind the last such line is the rest of a
batch that was not written in whole.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from crawler.runtime.disk import write_all


class Journal:
    """The journal at a path. The methods raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self.size = 0  # in bytes
        self.items = 0

    def open(self) -> str:
        """Make or repair the file. Return the position behind its items; empty if there is none."""
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        position, self.size = _last_mark(self._file)
        os.ftruncate(self._file, self.size)
        self.items = sum(1 for _ in self.read())
        return position

    def append(self, items: Sequence[bytes], position: str) -> None:
        """Add items and the position behind them, and wait for the disk. On failure, change nothing and raise."""
        block = b"".join([*(b"%b\n" % item for item in items), b"#%b\n" % position.encode()])
        os.ftruncate(self._file, self.size)  # if that failed below
        try:
            write_all(self._file, block)
            os.fdatasync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(block)
        self.items += len(items)

    def is_there(self) -> bool:
        """Return whether the file still has its name."""
        return os.path.samestat(os.stat(self._path), os.fstat(self._file))

    def read(self) -> Iterator[bytes]:
        """Yield the items."""
        with open(self._path, "rb") as file:
            yield from (line[:-1] for line in file if line[:1] != b"#")

    def clear(self) -> None:
        """Remove all, because it is durable elsewhere."""
        os.ftruncate(self._file, 0)
        os.fsync(self._file)
        self.size = self.items = 0

    def close(self) -> None:
        """Close the file, and delete it if nothing is in it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if not self.size:
                self._path.unlink(missing_ok=True)


def _last_mark(file: int) -> tuple[str, int]:
    """Return the last position in the file and where its line ends."""
    if not os.fstat(file).st_size:
        return "", 0
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data:
        end = data.rfind(b"\n") + 1
        while end > 0:
            start = data.rfind(b"\n", 0, end - 1) + 1
            if data[start : start + 1] == b"#":
                return data[start + 1 : end - 1].decode(), end
            end = start
    return "", 0
