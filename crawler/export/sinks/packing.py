"""The bytes of a finished segment, by the ending of the output's name. The same items make the same bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Final, Protocol

from crawler.export.sinks.columns import Columns, Kind
from crawler.export.sinks.encodings import lines


class Packing(Protocol):
    """How items become bytes."""

    learns: bool
    """Whether `go_on` wants the segment before."""

    def declare(self, columns: Mapping[str, Kind]) -> None:
        """Make room for columns that the class of an item declares."""

    def pack(self, items: Sequence[bytes], position: str) -> bytes:
        """Return the bytes of a segment, which may say up to which position it goes."""

    def go_on(self, last: bytes) -> None:
        """Make segments that fit to this one, which an earlier exporter made."""


class Lines:
    """JSON lines."""

    learns = False

    def declare(self, columns: Mapping[str, Kind]) -> None:
        """Do nothing: a line has the fields of its item."""

    def pack(self, items: Sequence[bytes], position: str) -> bytes:
        """Return a line for each item."""
        return lines(items)

    def go_on(self, last: bytes) -> None:
        """Do nothing: lines fit to any others."""


class GzipLines(Lines):
    """JSON lines, compressed."""

    def pack(self, items: Sequence[bytes], position: str) -> bytes:
        """Return a line for each item, in one gzip member without a time."""
        return gzip.compress(super().pack(items, position), 6, mtime=0)


class Parquet:
    """Parquet files, whose columns only grow wider from one to the next."""

    learns = True

    def __init__(self) -> None:
        from crawler.export.sinks import parquet_file  # pyarrow is an extra, and takes a while to import

        self._file = parquet_file
        self._columns = Columns()

    def declare(self, columns: Mapping[str, Kind]) -> None:
        """Make room for these columns."""
        self._columns.declare(columns)

    def pack(self, items: Sequence[bytes], position: str) -> bytes:
        """Return a file with a row for each item."""
        self._columns.widen(items)
        file = BytesIO()
        self._file.write(file, items, self._columns, position)
        return file.getvalue()

    def go_on(self, last: bytes) -> None:
        """Take over the columns."""
        self._columns = Columns(self._file.footer(BytesIO(last)).kinds)


PACKINGS: Final[Mapping[str, Callable[[], Packing]]] = {
    ".jsonl": Lines,
    ".jsonl.gz": GzipLines,
    ".parquet": Parquet,
}
"""Ending → what makes such segments."""
