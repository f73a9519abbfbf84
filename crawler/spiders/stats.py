"""The figures that a spider counts itself, as `self.crawler.stats`."""

from __future__ import annotations

from typing import Any


class Stats:
    """Figures of one spider in one process."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def inc_value(self, key: str, count: int = 1, start: int = 0, spider: Any = None) -> None:
        """Add to a figure."""
        self._values[key] = self._values.get(key, start) + count

    def get_value(self, key: str, default: Any = None, spider: Any = None) -> Any:
        """Return what this process has counted; `default` if nothing."""
        return self._values.get(key, default)
