"""The pipeline of the contender `crawler-piped`: the least that one can do with an item."""

from __future__ import annotations

from typing import Any


class Counted:
    """Adds a field to each item."""

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Add the number of headings."""
        item["sections"] = len(item["headings"])
        return item
