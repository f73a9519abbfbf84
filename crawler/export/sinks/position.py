"""The mark in each exported line: how far the outbox had been exported when the line was written.

    "_position": "EPOCH 0:1732280000000-3 1:1732280000017-0/2"

`EPOCH` names the job. Then, for each shard, comes the position of the last page in the file up to this line. `/2`
says that the line is item 2 (from 0) of a page and that more of its items follow; the last item of a page has no
such suffix. A file is therefore whole up to the last line without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from crawler.model import OutboxEntry

KEY = b'"_position":"'
_MARK = re.compile(rb'"_position":"(\S+)((?: \d+:\d+-\d+)*?)( \d+:\d+-\d+/\d+)?"\}\s*$')


def lines(entries: Sequence[OutboxEntry], epoch: str, positions: dict[int, str]) -> Iterator[bytes]:
    """Yield one marked line per item and update `positions`. Skip entries that were written before."""
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
    """Return the positions that a line marks; None if it is not of this job, or not the last of its page."""
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
