"""A part of the items, or of their fields, for the sink behind it: `spiders`, `item_classes` and `fields` of FEEDS.

The position of a page moves on although nothing of it is wanted: the sink gets its entry with all items left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import structlog
from msgspec import Raw
from msgspec.structs import replace

from crawler.export.target import Target
from crawler.interfaces import Gathering, Sink, WithColumns
from crawler.model import Exported, OutboxEntry

log = structlog.get_logger()

_fields_of = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def chosen(sink: Sink, target: Target) -> Sink:
    """Return a sink that gets what the target wants: this one itself if it wants all items as they are."""
    if not (target.fields or target.kinds or target.spiders):
        return sink
    return ChosenTogether(sink, target, sink) if isinstance(sink, Gathering) else Chosen(sink, target)


class Chosen:
    """Implements `Sink`."""

    def __init__(self, sink: Sink, target: Target) -> None:
        self._sink = sink
        self._target = target
        self._kinds = frozenset(path.rpartition(".")[2] for path in target.kinds)
        self._left_out = 0  # items that are not wanted here

    @property
    def location(self) -> str:
        """Where the items go."""
        return self._sink.location

    @property
    def inode(self) -> int:
        """That of the file; 0 if it is none."""
        return self._sink.inode

    @property
    def values_left_out(self) -> int:
        """Values for which the sink has no column."""
        return self._sink.values_left_out if isinstance(self._sink, WithColumns) else 0

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Open the sink."""
        return await self._sink.open(exported)

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Write what is wanted, and return the number of these items. Raises what the sink raises."""
        chosen = [self._chosen(entry) for entry in entries]
        written = await self._sink.write(chosen)
        self._left_out += sum(
            len(after.left_out - before.left_out) for before, after in zip(entries, chosen, strict=True)
        )
        return written

    async def finish(self) -> None:
        """Finish the sink, and say how many items were not wanted."""
        await self._sink.finish()
        if self._left_out:
            log.info("output_left_out", output=self.location, items=self._left_out, why="FEEDS selects other items")

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()

    def _chosen(self, entry: OutboxEntry) -> OutboxEntry:
        unwanted = frozenset(self._unwanted(entry))
        items = tuple(map(self._renamed, entry.items)) if self._target.fields else entry.items
        return replace(entry, items=items, left_out=entry.left_out | unwanted)

    def _unwanted(self, entry: OutboxEntry) -> Iterator[int]:
        """Yield the numbers of the items that are not wanted."""
        of_spider = not self._target.spiders or entry.spider in self._target.spiders
        for number in range(len(entry.items)):
            if not of_spider or not self._is_kind(entry.kind(number)):
                yield number

    def _is_kind(self, kind: str) -> bool:
        """Return whether an item's class is wanted; a class is known by its name, a dict as `dict`."""
        return not self._target.kinds or (kind or "dict") in self._kinds

    def _renamed(self, item: bytes) -> bytes:
        """Return the wanted fields of the item that it has, in their order, under their names in the output."""
        fields = _fields_of(item)
        return _encode({name: fields[field] for field, name in self._target.fields if field in fields})


class ChosenTogether(Chosen):
    """Implements `Gathering` with a sink that does. Pages without a wanted item count as well."""

    def __init__(self, sink: Sink, target: Target, gathering: Gathering) -> None:
        """`gathering`: the sink once more."""
        super().__init__(sink, target)
        self._gathering = gathering

    @property
    def pages(self) -> int:
        """How many pages are enough for one `write`."""
        return self._gathering.pages

    @property
    def seconds(self) -> float:
        """How long they may wait for more."""
        return self._gathering.seconds
