"""What makes bytes and names survive a power failure. All functions raise `OSError`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_all(file: int, data: bytes) -> None:
    """Write all bytes to a file descriptor: one `write` may take only some of them."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def replace(path: Path, data: bytes, new: Path) -> None:
    """Give the file these bytes. Whatever happens, the old or the new one is there; `new` is its name until it is
    whole."""
    try:
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(new, path)
        sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder, such as that of a new or renamed file, are on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
