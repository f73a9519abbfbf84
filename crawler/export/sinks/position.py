"""The mark each exported line carries: how far the outbox had been written when this line was.

    "_position": "EPOCH 0:1732280000000-3 1:1732280000017-0/2"

`EPOCH` names the job. For each shard follows the place of the last page that is in the file up to this line. `/2`
says that the line is item 2 (from 0) of a page of which more are to come; the last item of a page has no such
mark. A file is therefore whole up to the last line without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from crawler.model import OutboxEntry

KEY = b'"_position":"'
_MARK = re.compile(rb'"_position":"(\S+)((?: \d+:\d+-\d+)*?)( \d+:\d+-\d+/\d+)?"\}\s*$')


def lines(entries: Sequence[OutboxEntry], epoch: str, positions: dict[int, str]) -> Iterator[bytes]:
    """One line an item, marked; `positions` is brought up to date on the way. Entries written before are left out."""
    for entry in entries:
        if entry.shard in positions and not _after(entry.position, positions[entry.shard]):
            continue
        for number, item in enumerate(entry.items):
            part = "" if number == len(entry.items) - 1 else f"/{number}"
            marked = positions | {entry.shard: entry.position + part}
            vector = " ".join(f"{shard}:{entry_id}" for shard, entry_id in sorted(marked.items(), key=_parts_last))
            comma = b"" if item == b"{}" else b","
            yield b'%b%b%b%b %b"}\n' % (item[:-1], comma, KEY, epoch.encode(), vector.encode())
        positions[entry.shard] = entry.position


def read(line: bytes, epoch: str) -> Mapping[int, str] | None:
    """The positions a line marks; None when it is no line of this job, or not the last one of its page."""
    mark = _MARK.search(line)
    if mark is None or mark.group(1).decode() != epoch or mark.group(3):
        return None
    pairs = (pair.partition(":") for pair in mark.group(2).decode().split())
    return {int(shard): entry_id for shard, _, entry_id in pairs}


def _parts_last(pair: tuple[int, str]) -> tuple[bool, int]:
    shard, entry_id = pair
    return "/" in entry_id, shard


def _after(entry_id: str, other: str) -> bool:
    return _order(entry_id) > _order(other)


def _order(entry_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split("-"))
