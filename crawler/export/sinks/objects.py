"""Items as finished segments in a folder of an object store, each an object that others see when it is whole.

What is in no segment yet stays in the outbox, because the exporter's machine may be gone with its disk. A segment's
bytes and name are kept until the store has confirmed them, so a request that is repeated changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import structlog
from msgspec import Struct

from crawler.errors import ConfigError, OutputError
from crawler.export.sinks import position, segments
from crawler.export.sinks.declared import Declared, Lookup, nothing
from crawler.export.sinks.elsewhere import gone_to
from crawler.export.sinks.in_thread import InThread
from crawler.export.sinks.packing import Packing
from crawler.export.sinks.segments import Segment
from crawler.model import Exported, OutboxEntry
from crawler.runtime.object_store import ObjectFolder

log = structlog.get_logger()

SEGMENT_BYTES = 32 << 20  # of JSON in one segment; memory takes a few times that
SEGMENT_SECONDS = 300.0  # for which items may wait for more
FIRST_PAGES = 500  # in the first segment, before it is known how much a page holds


class _Pending(Struct, frozen=True):
    """A segment that the store has not confirmed yet."""

    segment: Segment
    body: bytes
    items: int


class ObjectSink:
    """Implements `BlockingSink`."""

    inode = 0

    def __init__(
        self,
        folder: ObjectFolder,
        ending: str,
        packing: Packing,
        epoch: str,
        *,
        append: bool = False,
        most_bytes: int = SEGMENT_BYTES,
        declared: Lookup = nothing,
    ) -> None:
        """`append`: also to a folder with other objects, or without the job's earlier items. `declared`: the columns
        that the classes of items declare."""
        self._declared = Declared(declared)
        self._folder = folder
        self._ending = ending
        self._packing = packing
        self._epoch = epoch
        self._append = append
        self._most_bytes = most_bytes
        self._segments: set[str] = set()  # names of those of this job
        self._number = 0  # of the last one
        self._positions: dict[int, str] = {}
        self._pending: _Pending | None = None
        self._uncounted = 0  # items in segments of a write that failed later
        self._page_bytes = 0.0  # on average, in the last write
        self.location = folder.location

    @property
    def pages(self) -> int:
        """How many pages make one segment."""
        return max(1, int(self._most_bytes / self._page_bytes)) if self._page_bytes else FIRST_PAGES

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to the folder. Change nothing."""
        self._survey()

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Look what is there; return the position behind it. Raise `OutputError`."""
        ours = self._survey()
        chain = segments.chain(ours, exported.positions)
        if chain:
            self._number, self._positions = chain[0].number, dict(chain[0].positions)
            if self._packing.learns:
                self._packing.go_on(self._folder.get(chain[0].name))
        if not self._append and not position.reaches(self._positions, exported.positions):
            raise OutputError(gone_to(exported.location, self.location))
        self._segments = {segment.name for segment in chain}
        self._remove_strays(ours)
        self._positions = position.merged(self._positions, exported.positions)
        return dict(self._positions)

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Store the items as one segment, or several if they are many. Return their number. Raise `OutputError`: what
        is stored by then is not stored again."""
        if self._pending is not None:
            self._store(self._pending)
        new = [entry for entry in entries if not position.reaches(self._positions, {entry.shard: entry.position})]
        for group in self._groups(new):
            self._pending = self._segment(group)
            self._store(self._pending)
        written, self._uncounted = self._uncounted, 0
        return written

    def finish(self) -> None:
        """Delete what a killed exporter's last request may have left after this one began."""
        self._remove_strays(self._survey())

    def close(self) -> None:
        """Do nothing: what is stored is in its place."""

    def _survey(self) -> list[Segment]:
        """Return the segments of this job. Raise `OutputError` if there are others' objects, and it must not add."""
        ours = []
        for name in self._folder.names():
            segment = segments.read(name)
            if segment is not None and segment.epoch == self._epoch:
                ours.append(segment)
            elif not self._append:
                whose = (
                    f"items of another crawl (epoch {segment.epoch})" if segment else f"{name}, which no crawl wrote"
                )
                raise OutputError(f"{self.location} holds {whose}: name another folder, or add to it with --append")
        return ours

    def _remove_strays(self, ours: Sequence[Segment]) -> None:
        for stray in (segment.name for segment in ours if segment.name not in self._segments):
            self._folder.delete(stray)
            log.warning(
                "output_stray", object=stray, why="a late request of a killed exporter; its items are elsewhere"
            )

    def _groups(self, entries: Sequence[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
        """Yield the entries of each segment."""
        group: list[OutboxEntry] = []
        size = total = 0
        for entry in entries:
            group.append(entry)
            size += sum(map(len, entry.items))
            if size >= self._most_bytes:
                yield group
                group, total, size = [], total + size, 0
        if group:
            yield group
        if entries:
            self._page_bytes = (total + size) / len(entries)

    def _segment(self, entries: Sequence[OutboxEntry]) -> _Pending:
        positions = position.merged(self._positions, {entry.shard: entry.position for entry in entries})
        segment = segments.named(self._number + 1, self._epoch, self._positions, positions, self._ending)
        if len(segment.name) > segments.LONGEST:
            raise ConfigError(
                f"{self.location}: the positions of {len(positions)} shards do not fit into the name of an object; "
                "write to a file or a database"
            )
        for columns in self._declared.new(entries):
            self._packing.declare(columns)
        items = [item for entry in entries for _, item in entry.numbered()]
        return _Pending(segment, self._packing.pack(items, position.mark(self._epoch, positions)), len(items))

    def _store(self, pending: _Pending) -> None:
        self._folder.put(pending.segment.name, pending.body)
        self._segments.add(pending.segment.name)
        self._number, self._positions = pending.segment.number, dict(pending.segment.positions)
        self._uncounted += pending.items
        self._pending = None


class Gathered(InThread):
    """Implements `Gathering` with such a sink."""

    seconds = SEGMENT_SECONDS

    def __init__(self, sink: ObjectSink, most_pages: int) -> None:
        """`most_pages`: that may wait for a segment."""
        super().__init__(sink)
        self._objects = sink
        self._most_pages = most_pages

    @property
    def pages(self) -> int:
        """How many pages make one segment."""
        return min(self._most_pages, self._objects.pages)
