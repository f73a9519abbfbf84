"""Which entries of a large dict to forget."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

_SHARE = 16

K = TypeVar("K")


def oldest(kept: Mapping[K, object]) -> list[K]:
    """The oldest sixteenth of a dict's keys. Forgetting them one by one would be slow, because a dict searches its
    first key behind all the deleted ones."""
    return list(islice(kept, 1 + len(kept) // _SHARE))
