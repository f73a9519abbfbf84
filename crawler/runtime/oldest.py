"""Which entries of a large dict to forget."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

_SHARE = 16

K = TypeVar("K")


def oldest(kept: Mapping[K, object]) -> list[K]:
    """The keys that were put into a dict first, a sixteenth of them: one by one would be slow, because the way to the
    first key leads past all that were deleted."""
    return list(islice(kept, 1 + len(kept) // _SHARE))
