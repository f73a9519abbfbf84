"""The mark in each exported line: how far the outbox had been exported when the line was written.

    "_position": "EPOCH 0:1732280000000-3 1:1732280000017-0/2"

`EPOCH` names the job. Then, for each shard, comes the position of the last page in the file up to this line. `/2`
says that the line is item 2 (from 0) of a page and that more of its items follow; the last item of a page has no
such suffix. Whatever a crash left of a page, and whatever was written behind it, the last mark says where to go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from crawler.model import OutboxEntry

KEY = b'"_position":"'
_MARK = re.compile(rb'"_position":"(\S+)((?: \d+:\d+-\d+(?:/\d+)?)+)"\}\s*$')
_WHOLE = re.compile(r"(\S+)((?: \d+:\d+-\d+)*)")


def lines(entries: Sequence[OutboxEntry], epoch: str, positions: dict[int, str]) -> Iterator[bytes]:
    """Yield one marked line per item and update `positions`. Skip items that were written before."""
    for entry in entries:
        for number, item in entry.numbered():
            part = "" if number == len(entry.items) - 1 else f"/{number}"
            if entry.shard in positions and _order(entry.position + part) <= _order(positions[entry.shard]):
                continue
            marked = positions | {entry.shard: entry.position + part}
            vector = " ".join(f"{shard}:{entry_id}" for shard, entry_id in sorted(marked.items(), key=_parts_last))
            comma = b"" if item == b"{}" else b","
            yield b'%b%b%b%b %b"}\n' % (item[:-1], comma, KEY, epoch.encode(), vector.encode())
        positions[entry.shard] = later(entry.position, positions.get(entry.shard))


def mark(epoch: str, positions: Mapping[int, str]) -> str:
    """Return an epoch and whole pages' positions as text: `EPOCH 0:1732280000000-3 1:1732280000017-0`."""
    return " ".join([epoch, *(f"{shard}:{entry_id}" for shard, entry_id in sorted(positions.items()))])


def marked(text: str) -> tuple[str, dict[int, str]]:
    """Return the epoch and the positions of a `mark`; an empty epoch for any other text."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        return "", {}
    pairs = (pair.partition(":") for pair in match.group(2).split())
    return match.group(1), {int(shard): entry_id for shard, _, entry_id in pairs}


def read(line: bytes) -> tuple[str, dict[int, str]] | None:
    """Return the epoch and the positions that a line marks; None if it has no mark."""
    mark = _MARK.search(line)
    if mark is None:
        return None
    pairs = (pair.partition(":") for pair in mark.group(2).decode().split())
    return mark.group(1).decode(errors="replace"), {int(shard): entry_id for shard, _, entry_id in pairs}


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


def _parts_last(pair: tuple[int, str]) -> tuple[bool, int]:
    shard, entry_id = pair
    return "/" in entry_id, shard


def _order(entry_id: str) -> tuple[int, int, float]:
    page, _, item = entry_id.partition("/")
    milliseconds, _, number = page.partition("-")
    return int(milliseconds), int(number), int(item) if item else float("inf")
