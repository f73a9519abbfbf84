"""The index of an archive as a file (`-o pages.cdxj`): a line for each page that was committed, exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from crawler.export.sinks.encodings import JsonLines
from crawler.export.sinks.file import FileSink
from crawler.model import OutboxEntry


class IndexLines(JsonLines):
    """Implements `Encoding`: a line is a key, a time and a JSON object (see `archive/index.py`)."""

    is_shared = False
    is_marked = False

    def begin(self, head: bytes) -> None:
        """Raise `ValueError` for a file that does not begin with such a line."""
        if head and b" {" not in head.partition(b"\n")[0]:
            raise ValueError("is no index of an archive")


class IndexSink(FileSink):
    """Writes the lines of pages in place of their items."""

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Append the lines, wait for the disk, return their number. On failure, restore the file and raise."""
        return super().write([_line_alone(entry) for entry in entries])


def _line_alone(entry: OutboxEntry) -> OutboxEntry:
    line = (entry.archived.encode(),) if entry.archived else ()
    return replace(entry, items=line, kinds=(), left_out=frozenset())
