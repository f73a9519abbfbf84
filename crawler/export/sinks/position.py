"""How far the outbox had been exported: the text `EPOCH 0:1732280000000-3 1:1732280000017-0/2`.

`EPOCH` names the job. Then, for each shard, comes the position of the last page in the sink. `/2` says that it is item
2 (from 0) of a page and that more of its items follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from crawler.model import OutboxEntry


def mark(epoch: str, positions: Mapping[int, str]) -> str:
    """Return epoch and positions as text."""
    return " ".join([epoch, *(f"{shard}:{entry_id}" for shard, entry_id in sorted(positions.items()))])


def read(text: str) -> tuple[str, dict[int, str]]:
    """Return the epoch and the positions of such a text. Raise `ValueError` for any other text."""
    epoch, *pairs = text.split(" ")
    split = (pair.partition(":") for pair in pairs)
    return epoch, {int(shard): _checked(entry_id) for shard, _, entry_id in split}


def marked(text: str) -> tuple[str, dict[int, str]]:
    """Return the epoch and the positions of a `mark`; an empty epoch for any other text."""
    try:
        return read(text)
    except ValueError:
        return "", {}


def rows(entries: Sequence[OutboxEntry], positions: dict[int, str]) -> Iterator[tuple[OutboxEntry, int, bytes]]:
    """Yield each item with its entry and number, and update `positions`. Skip items that were written before."""
    for entry in entries:
        before = positions.get(entry.shard)
        first = _items_until(entry, before)
        for number, item in entry.numbered():
            if number >= first:
                yield entry, number, item
        positions[entry.shard] = later(entry.position, before)


def whole(positions: Mapping[int, str]) -> dict[int, str]:
    """Return the positions without the one of a page that was cut off, if any: its entry is still needed."""
    return {shard: entry_id for shard, entry_id in positions.items() if "/" not in entry_id}


def merged(some: Mapping[int, str], others: Mapping[int, str]) -> dict[int, str]:
    """Return the later position of each shard."""
    return {shard: later(entry_id, some.get(shard)) for shard, entry_id in {**some, **others}.items()}


def least(several: Sequence[Mapping[int, str]]) -> dict[int, str]:
    """Return the earliest position of each shard that all of these have."""
    first, *others = several
    return {
        shard: min((entry_id, *(its[shard] for its in others)), key=_order)
        for shard, entry_id in first.items()
        if all(shard in its for its in others)
    }


def later(entry_id: str, other: str | None) -> str:
    """Return the later of two positions of a shard."""
    return entry_id if other is None or _order(entry_id) > _order(other) else other


def reaches(positions: Mapping[int, str], wanted: Mapping[int, str]) -> bool:
    """Return whether `positions` are as far as those wanted, in each shard."""
    return all(shard in positions and _order(positions[shard]) >= _order(wanted[shard]) for shard in wanted)


def _items_until(entry: OutboxEntry, before: str | None) -> int:
    """Return how many items of the entry stand at or before a position."""
    if before is None:
        return 0
    page, _, item = before.partition("/")
    if item and page == entry.position.partition("/")[0]:
        return int(item) + 1
    return len(entry.items) if _order(entry.position) <= _order(before) else 0


@lru_cache(64)  # each page's position is compared with the one before it and the one behind it
def _order(entry_id: str) -> tuple[int, int, float]:
    page, _, item = entry_id.partition("/")
    milliseconds, _, number = page.partition("-")
    return int(milliseconds), int(number), int(item) if item else float("inf")


def _checked(entry_id: str) -> str:
    _order(entry_id)
    return entry_id
