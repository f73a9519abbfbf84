"""Keeps files in a folder: each is there whole, or not at all, also after a kill or a loss of power."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from crawler.errors import ConfigError, OutputError
from crawler.runtime.disk import sync_folder, write_all

_INCOMING = "incoming"
_LEFT_BEHIND = 3600.0  # seconds after which a half-written file belongs to a process that was killed


class Folder:
    """Implements `FileStore`. Any number of processes may share it."""

    def __init__(self, setting: str, path: Path) -> None:
        """`setting` names the folder in errors."""
        self._setting = setting
        self._root = path
        self.location = str(path)

    def check(self) -> None:
        """Make the folder, and remove what killed processes have left half-written. Raise `ConfigError` if a file has
        its name, `OutputError` if nothing can be written into it."""
        try:
            (self._root / _INCOMING).mkdir(parents=True, exist_ok=True)
            if not os.access(self._root / _INCOMING, os.W_OK | os.X_OK) or not os.access(self._root, os.W_OK | os.X_OK):
                raise PermissionError(0, "nothing may be written into it")
            self._tidy()
        except (FileExistsError, NotADirectoryError):
            raise ConfigError(f"{self._setting}={self._root}: expected a folder; a file has this name") from None
        except OSError as error:
            raise OutputError(f"{self._setting}={self._root}: {error.strerror}") from None

    def has(self, path: str) -> bool:
        """Return whether the file is there."""
        return self._at(path).is_file()

    def get(self, path: str) -> bytes | None:
        """Return the content of a file; None if it is not there. Raise `OSError`."""
        try:
            return self._at(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, path: str, data: bytes) -> None:
        """Write a file in place of any other of that name. Raise `OSError`; then that one is unchanged."""
        target = self._at(path)
        made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        self._check_inside(target.parent)
        incoming = self._root / _INCOMING
        incoming.mkdir(exist_ok=True)
        half = incoming / secrets.token_hex(16)
        try:
            _write(half, data)
            os.rename(half, target)
        except BaseException:
            with suppress(OSError):
                half.unlink()
            raise
        for folder in (target.parent, *(one.parent for one in made)):
            sync_folder(folder)

    def _at(self, path: str) -> Path:
        return self._root / path

    def _check_inside(self, folder: Path) -> None:
        """Raise `PermissionError` if a symbolic link leads out of the store."""
        if not folder.resolve().is_relative_to(self._root.resolve()):
            raise PermissionError(0, f"{folder} leads out of {self._setting}")

    def _tidy(self) -> None:
        for half in (self._root / _INCOMING).iterdir():
            with suppress(OSError):  # another process removes them as well
                if time.time() - half.lstat().st_mtime > _LEFT_BEHIND:
                    half.unlink()


def _write(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        write_all(file, data)
        os.fsync(file)
    finally:
        os.close(file)
