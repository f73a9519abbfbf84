"""One Parquet file of items, and what its footer says: the position behind them, and the types of the columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from crawler.errors import ConfigError
from crawler.export.sinks.columns import OTHER, Columns, Kind
from crawler.program import extra

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise ConfigError(f"Parquet needs the extra `parquet`: {extra('parquet')}") from None

GROUP_BYTES = 8 << 20  # JSON of the items in one row group; the memory that writing takes is a few times that
GROUP_CELLS = 2_000_000  # values, also missing ones, in one row group

_POSITION: Final = b"crawler.position"
_COLUMNS: Final = b"crawler.columns"

_TYPES: Final = {
    Kind.NULL: pa.null(),
    Kind.BOOL: pa.bool_(),
    Kind.INT: pa.int64(),
    Kind.BIG: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.TEXT: pa.string(),
}


class Footer(Struct, frozen=True):
    """What a file says of itself."""

    position: str  # as `position.mark` writes it; empty: no crawl wrote the file
    kinds: dict[str, str]  # of each column


def write(file: BinaryIO, items: Iterable[bytes], columns: Columns, position: str) -> None:
    """Write the items, for which the columns have room, and the footer. The same items make the same bytes."""
    if not columns.kinds:  # a row must have a column
        columns = Columns({OTHER: Kind.NULL})
    says = {_POSITION: position.encode(), _COLUMNS: msgspec.json.encode(columns.kinds)}
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.kinds.items()], says)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(items, len(columns.kinds)):
            writer.write_table(_table(schema, columns, group), len(group))


def footer(file: str | BinaryIO) -> Footer:
    """Read the footer of a file. Raises `ValueError` if it is no whole Parquet file, `OSError`."""
    says = pq.read_metadata(file).metadata or {}
    kinds = msgspec.json.decode(says.get(_COLUMNS, b"{}"), type=dict[str, str])
    return Footer(says.get(_POSITION, b"").decode(), kinds)


def _groups(items: Iterable[bytes], width: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for item in items:
        group.append(item)
        size += len(item)
        if size >= GROUP_BYTES or len(group) * width >= GROUP_CELLS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(schema: pa.Schema, columns: Columns, items: list[bytes]) -> pa.Table:
    values = columns.values(items)
    return pa.table([pa.array(values[field.name], field.type) for field in schema], schema)
