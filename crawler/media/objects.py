"""Keeps files in a folder of an object store. Others see an object when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from crawler.errors import OutputError
from crawler.runtime.object_store import ObjectFolder

_T = TypeVar("_T")


class Objects:
    """Implements `FileStore`."""

    def __init__(self, url: str) -> None:
        """Raises `ConfigError` for a URL that cannot be used."""
        self._folder = ObjectFolder(url)
        self.location = self._folder.location

    def check(self) -> None:
        """Raise `OutputError` if there is no such bucket, or the credentials are refused."""
        next(self._folder.names(), None)

    def has(self, path: str) -> bool:
        """Return whether the file is there."""
        return _called(self._folder.has, path)

    def get(self, path: str) -> bytes | None:
        """Return the content of a file; None if it is not there."""
        return _called(self._folder.find, path)

    def put(self, path: str, data: bytes) -> None:
        """Store a file in place of any other of that path."""
        _called(self._folder.put, path, data)


def _called(work: Callable[..., _T], *given: object) -> _T:
    """Raise `OSError` where the folder raises `OutputError`, as `FileStore` has it."""
    try:
        return work(*given)
    except OutputError as error:
        raise OSError(str(error)) from None
