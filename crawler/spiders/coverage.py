"""Counts in how many items of a page each field is filled: present, and neither null nor empty text, list or object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from crawler.model import COVERED_FIELDS, Filled

MAX_NAME = 100  # characters of a field's or a class's name that is counted by itself

_NOTHING = frozenset((b"null", b'""', b"[]", b"{}"))  # as `encode_item` writes them
_MOST_OF_NOTHING = max(map(len, _NOTHING))
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def coverage_of(callback: str, items: Sequence[bytes], kinds: Sequence[str]) -> tuple[Filled, ...]:
    """Return the counts of a page's items, one entry for each class. `items` are as `encode_item` writes them, `kinds`
    their classes.

    Looks at top-level fields alone. Of a class with more fields than the job counts, the rest is one sum (`others`).
    """
    if not items:
        return ()
    by_kind: dict[str, list[bytes]] = {}
    for item, kind in zip(items, kinds, strict=True):
        by_kind.setdefault(kind, []).append(item)
    return tuple(_counted(callback, kind, its) for kind, its in by_kind.items())


def _counted(callback: str, kind: str, items: Iterable[bytes]) -> Filled:
    fields: dict[str, int] = {}
    number = others = 0
    for item in items:
        number += 1
        for name, value in _decode(item).items():
            is_filled = 0 if len(value) <= _MOST_OF_NOTHING and bytes(value) in _NOTHING else 1
            if name in fields:
                fields[name] += is_filled
            elif len(fields) < COVERED_FIELDS and len(name) <= MAX_NAME:
                fields[name] = is_filled
            else:
                others += is_filled
    return Filled(callback, kind[:MAX_NAME], number, fields, others)
