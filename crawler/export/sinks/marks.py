"""Files of JSON lines that older versions wrote: each row ends with its position. Later rows are written without it.

    {"url":"https://a.example/", "_position":"EPOCH 0:1732280000000-3 1:1732280000017-0/2"}

Whatever a crash left of a page, and whatever was written behind it, the last mark says where to go on.
"""

from __future__ import annotations

import re
from mmap import mmap

from crawler.export.sinks import position

_KEY = b'"_position":"'
_MARK = re.compile(rb'"_position":"(\S+(?: \d+:\d+-\d+(?:/\d+)?)+)"\}\s*$')


def last_marks(data: mmap | bytes, epoch: str) -> tuple[dict[int, str], str]:
    """Return the positions of this job's last row, and the epoch of another job with marked rows (empty: none)."""
    mark = _KEY + epoch.encode() + b" "
    end = len(data)
    while (at := data.rfind(mark, 0, end)) >= 0:
        start, line = line_at(data, at)
        if found := _read(line):
            return found[1], ""
        end = start
    last = data.rfind(_KEY)
    other = _read(line_at(data, last)[1]) if last >= 0 else None
    return {}, other[0] if other else ""


def line_at(data: mmap | bytes, at: int) -> tuple[int, bytes]:
    """Return the line around a place, and where it starts."""
    start, stop = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
    return start, data[start : stop if stop >= 0 else len(data)]


def _read(line: bytes) -> tuple[str, dict[int, str]] | None:
    mark = _MARK.search(line)
    return position.read(mark.group(1).decode(errors="replace")) if mark else None
