"""The names of finished segments in an object store. A name says where its segment ends: the names are the position.

    part-000007-6f1c2a9d0b3e4f58-9d2e0c41-0.mgx3k2p1.0_1.mgx3k2q9.3.jsonl.gz

That is: the number within the job; the job's epoch; a digest of where the segment before ends; and for each shard the
position of the last page, its two numbers to the base of 36.

The digest makes a chain of the segments. An exporter that is killed may leave a request on its way, which the store
fulfils after the next exporter has looked. Then there are two segments of one number, and one of them is in the chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from crawler.export.sinks.position import reaches

LONGEST = 900  # bytes of a name; a key has 1,024 at most, and needs a folder as well

_NAME: Final = re.compile(r"part-(\d{6,})-(\w+)-([0-9a-f]{8})-((?:\d+\.[0-9a-z]+\.[0-9a-z]+_?)+)(\.[a-z]+[a-z.]*)")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Segment(Struct, frozen=True):
    """A finished segment, as its name describes it."""

    name: str
    number: int
    epoch: str
    before: str  # digest of where the segment before ends
    positions: Mapping[int, str]


def named(number: int, epoch: str, before: Mapping[int, str], positions: Mapping[int, str], ending: str) -> Segment:
    """Return the segment that follows one that ends `before`, and ends at these positions."""
    digest = _digest(before)
    return Segment(f"part-{number:06}-{epoch}-{digest}-{_vector(positions)}{ending}", number, epoch, digest, positions)


def read(name: str) -> Segment | None:
    """Return what the name of an object says; None if it is none of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    parts = (part.split(".") for part in match[4].split("_"))
    positions = {int(shard): f"{int(one, 36)}-{int(two, 36)}" for shard, one, two in parts}
    return Segment(name, int(match[1]), match[2], match[3], positions)


def chain(segments: Iterable[Segment], reached: Mapping[int, str]) -> list[Segment]:
    """Return the segments of one job that follow each other, the last first. The last one has come as far as `reached`
    if any has."""
    by_number: dict[int, list[Segment]] = {}
    for segment in sorted(segments, key=lambda segment: segment.name):
        by_number.setdefault(segment.number, []).append(segment)
    found: list[Segment] = []
    for number in sorted(by_number, reverse=True):
        several = by_number[number]
        if not found:
            chosen = [one for one in several if reaches(one.positions, reached)]
        else:
            chosen = [one for one in several if _digest(one.positions) == found[-1].before]
        found.append((chosen or several)[0])
    return found


def _vector(positions: Mapping[int, str]) -> str:
    return "_".join(f"{shard}.{_both(entry_id)}" for shard, entry_id in sorted(positions.items()))


def _both(entry_id: str) -> str:
    one, _, two = entry_id.partition("-")
    return f"{_base36(int(one))}.{_base36(int(two))}"


def _digest(positions: Mapping[int, str]) -> str:
    return blake2b(_vector(positions).encode(), digest_size=4).hexdigest()


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
