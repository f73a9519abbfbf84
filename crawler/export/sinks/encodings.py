"""How items become the bytes of a file: values that `FileSink` is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec


class Encoding(Protocol):
    """Rows as bytes, block by block; blocks one behind the other are a file.

    Which rows a file has does not depend on where the blocks end.
    """

    end: bytes  # what stands behind the last row of a whole file
    is_shared: bool  # other programs may add lines at the end, each ended by a line break
    is_marked: bool  # older versions wrote positions into its rows

    def begin(self, head: bytes) -> None:
        """Learn from the first bytes of the file (empty: a new one). Raise `ValueError` if it is of another kind."""

    def row(self, item: bytes) -> bytes:
        """Return the row of an item, a JSON object. Raise `ValueError`, which says why, if it can have none."""

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return the bytes of the rows, which are the first of their file or follow others."""

    def is_foreign(self, line: bytes) -> bool:
        """Return whether a line, with its line break, is somebody's row, and no part of one that was torn."""


class JsonLines:
    """Implements `Encoding`: an item is a line."""

    end = b""
    is_shared = True
    is_marked = True

    def begin(self, head: bytes) -> None:
        """Nothing to learn."""

    def row(self, item: bytes) -> bytes:
        """Return the item."""
        return item

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return the lines."""
        return lines(rows)

    def is_foreign(self, line: bytes) -> bool:
        """Return whether it is JSON: no part of an object's row is."""
        return is_json(line)


def lines(rows: Iterable[bytes]) -> bytes:
    """Return the rows, each with a line break."""
    return b"".join([row + b"\n" for row in rows])


def is_json(line: bytes) -> bool:
    """Return whether the bytes are one JSON value."""
    try:
        msgspec.json.decode(line)
    except ValueError:  # bad JSON (msgspec), or bad UTF-8
        return False
    return True
