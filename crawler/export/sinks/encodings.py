"""How items become the bytes of a file: values that `FileSink` is given."""

from __future__ import annotations

import csv
import sys
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from crawler.export.sinks.sql.fields import BadValue, read_fields, text_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Encoding(Protocol):
    """Rows as bytes, block by block; blocks one behind the other are a file.

    Which rows a file has does not depend on where the blocks end.
    """

    end: bytes  # what stands behind the last row of a whole file
    is_shared: bool  # other programs may add lines at the end, each ended by a line break
    is_marked: bool  # older versions wrote positions into its rows
    left_out: Counter[str]  # field → values for which `row` had no column; whoever reads it clears it

    @property
    def lacks_columns(self) -> bool:
        """Whether the next item decides which columns there are."""

    def begin(self, head: bytes) -> None:
        """Learn from the first bytes of the file (empty: a new one). Raise `ValueError` if it is of another kind."""

    def name_columns(self, names: Sequence[str]) -> None:
        """Take the first columns, if it lacks them: the other fields of the next item follow."""

    def row(self, item: bytes) -> bytes:
        """Return the row of an item, a JSON object. Raise `ValueError`, which says why, if it can have none."""

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return the bytes of the rows, which are the first of their file or follow others."""

    def is_foreign(self, line: bytes) -> bool:
        """Return whether a line, with its line break, is somebody's row, and no part of one that was torn."""


class _AllFields:
    """What encodings have in common that keep all fields of an item."""

    lacks_columns = False

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def name_columns(self, names: Sequence[str]) -> None:
        """There are none."""

    def row(self, item: bytes) -> bytes:
        """Return the item."""
        return item


class JsonLines(_AllFields):
    """Implements `Encoding`: an item is a line."""

    end = b""
    is_shared = True
    is_marked = True

    def begin(self, head: bytes) -> None:
        """Nothing to learn."""

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return the lines."""
        return lines(rows)

    def is_foreign(self, line: bytes) -> bool:
        """Return whether it is JSON: no part of an object's row is."""
        return is_json(line)


def lines(rows: Iterable[bytes]) -> bytes:
    """Return the rows, each with a line break."""
    return b"\n".join([*rows, b""])


def is_json(line: bytes) -> bool:
    """Return whether the bytes are one JSON value."""
    try:
        msgspec.json.decode(line)
    except ValueError:  # bad JSON (msgspec), or bad UTF-8
        return False
    return True


class JsonArray(_AllFields):
    """Implements `Encoding`: one array, an item on each line. The file is one as soon as the crawl is over."""

    end = b"\n]\n"
    is_shared = False
    is_marked = False

    def begin(self, head: bytes) -> None:
        """Raise `ValueError` if it is no array as this writes it."""
        if not b"[\n".startswith(head[:2]):
            raise ValueError("holds no array of items that an export wrote; name another file")

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return elements of the array, behind its bracket or a comma."""
        return (b"[\n" if is_first else b",\n") + b",\n".join(rows)

    def is_foreign(self, line: bytes) -> bool:
        """Nobody else can add to it."""
        return False


class Csv:
    """Implements `Encoding`: a header and rows as RFC 4180 has them. Text stands as it is, null as nothing, any other
    value as JSON.

    The columns are the `fields`, or else those in the header of the file, or else those that are named for the first
    item, and its other fields. Values of other fields are left out and counted.
    """

    end = b""
    is_shared = True
    is_marked = False

    def __init__(self, fields: Sequence[str] = ()) -> None:
        self._wanted = tuple(fields)
        self._fields = self._wanted
        self._first: tuple[str, ...] = ()
        self.left_out: Counter[str] = Counter()
        self._text = StringIO(newline="")
        self._writer = csv.writer(self._text)

    def begin(self, head: bytes) -> None:
        """Take the columns from the header. Raise `ValueError` if they are not those that are wanted."""
        there = _header(head)
        if there and self._wanted and there != self._wanted:
            raise ValueError(
                f"has the columns {','.join(there)} and not {','.join(self._wanted)}: name another file, or -O FILE "
                "replaces it at the end"
            )
        self._fields = there or self._fields

    @property
    def lacks_columns(self) -> bool:
        """Whether the next item decides which columns there are."""
        return not self._fields

    def name_columns(self, names: Sequence[str]) -> None:
        """Take those that come first in the header, if there is none yet."""
        self._first = tuple(names)

    def row(self, item: bytes) -> bytes:
        """Return the values of the columns. Raise `ValueError` if the item has a value that is no text in UTF-8, or no
        field to make the header of."""
        try:
            values = {name: text_of(value) for name, value in _fields(item).items() if value != b"null"}
        except BadValue as error:
            raise ValueError(str(error)) from None
        self._fields = self._fields or tuple(dict.fromkeys((*self._first, *_fields(item))))
        if not self._fields:
            raise ValueError("the item has no field, but the header comes from the first item: write the `fields`")
        cells = [values.pop(field, "") for field in self._fields]
        self.left_out.update(values.keys())
        return self._line(cells)

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return the rows, the first ones behind a header."""
        return b"".join((self._line(self._fields), *rows) if is_first else rows)

    def is_foreign(self, line: bytes) -> bool:
        """Return whether it ends, and was no hole in the file."""
        return line.endswith(b"\n") and b"\0" not in line

    def _line(self, cells: Sequence[str]) -> bytes:
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerow(cells)
        return self._text.getvalue().encode()


class Compressed:
    """Implements `Encoding`: each block of another encoding is compressed by itself, so that the file may be cut
    between any two."""

    end = b""
    is_shared = False
    is_marked = False

    def __init__(self, inner: Encoding, codec: Codec) -> None:
        self._inner = inner
        self._codec = codec
        self.left_out = inner.left_out
        self.row = inner.row
        self.name_columns = inner.name_columns

    @property
    def lacks_columns(self) -> bool:
        """As the other encoding."""
        return self._inner.lacks_columns

    def begin(self, head: bytes) -> None:
        """Let the other encoding learn from the first block. Raise `ValueError` if it is not compressed like this."""
        try:
            self._inner.begin(self._codec.first(head) if head else b"")
        except self._codec.error:
            raise ValueError(f"is not compressed with {self._codec.name}; name another file") from None

    def block(self, rows: Sequence[bytes], *, is_first: bool) -> bytes:
        """Return the rows as one gzip member or Zstandard frame."""
        return self._codec.compress(self._inner.block(rows, is_first=is_first))

    def is_foreign(self, line: bytes) -> bool:
        """There are no lines."""
        return False


class Codec(Struct, frozen=True):
    """A way of compressing."""

    name: str
    compress: Callable[[bytes], bytes]
    first: Callable[[bytes], bytes]  # what the first bytes of a file hold, at most `_HEAD`
    error: type[Exception]


_HEAD: Final = 1 << 20

GZIP: Final = Codec(
    "gzip",
    lambda data: zlib.compress(data, 6, wbits=31),
    lambda head: zlib.decompressobj(wbits=31).decompress(head, _HEAD),
    zlib.error,
)
ZSTANDARD: Final = Codec(
    "zstd",
    lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    lambda head: zstd.ZstdDecompressor().decompress(head, _HEAD),
    zstd.ZstdError,
)

ENCODINGS: Final[Mapping[str, Callable[[Sequence[str]], Encoding]]] = {
    "jsonl": lambda fields: JsonLines(),
    "jsonl.gz": lambda fields: Compressed(JsonLines(), GZIP),
    "jsonl.zst": lambda fields: Compressed(JsonLines(), ZSTANDARD),
    "csv": Csv,
    "csv.gz": lambda fields: Compressed(Csv(fields), GZIP),
    "json": lambda fields: JsonArray(),
}
"""Name of a format → the encoding for these fields (empty: any)."""


def _fields(item: bytes) -> Mapping[str, bytes]:
    return {} if item == b"{}" else read_fields(item)


def _header(head: bytes) -> tuple[str, ...]:
    """Return the first row."""
    text = StringIO(head.removeprefix(BOM_UTF8).decode(errors="replace"), newline="")
    try:
        return tuple(next(csv.reader(text), ()))
    except csv.Error as error:
        raise ValueError(f"begins with no header ({error}); name another file") from None
