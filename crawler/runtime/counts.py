"""Numbers by name, such as the items that a page leaves out, by reason."""

from __future__ import annotations

from collections.abc import Mapping


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    """The sum of both; one of them itself if the other is empty, as it is for most pages."""
    if not (counts and more):
        return counts or more
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}
