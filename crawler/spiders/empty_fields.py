"""Notices fields of a spider's items that are empty on all of its first pages: a selector that finds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

log = structlog.get_logger()

FIRST_PAGES = 5  # pages with items, in one process, after which a callback is judged
MAX_ITEMS = 100  # of one page that are looked at
MAX_FIELDS = 200  # of the items of one callback

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class EmptyFields:
    """Judges the callbacks of one spider, each once, by the first pages that gave items in this process."""

    def __init__(self, spider: str) -> None:
        self._spider = spider
        self._pages: dict[str, int] = {}  # callback → pages seen; gone when it has been judged
        self._filled: dict[str, dict[str, bool]] = {}  # callback → field → whether some item had a value
        self._judged: set[str] = set()

    def note(self, callback: str, items: Sequence[bytes]) -> None:
        """Note the items of one page; log the fields that were empty on all of the first pages."""
        if callback in self._judged or not items:
            return
        filled = self._filled.setdefault(callback, {})
        for item in items[:MAX_ITEMS]:
            for field, value in _decode(item).items():
                if field in filled or len(filled) < MAX_FIELDS:
                    filled[field] = filled.get(field, False) or not _is_nothing(value)
        self._pages[callback] = self._pages.get(callback, 0) + 1
        if self._pages[callback] >= FIRST_PAGES:
            self._judge(callback)

    def _judge(self, callback: str) -> None:
        self._judged.add(callback)
        pages = self._pages.pop(callback)
        for field, is_filled in self._filled.pop(callback).items():
            if not is_filled:
                log.warning("field_always_empty", spider=self._spider, callback=callback, field=field, pages=pages)


def _is_nothing(value: object) -> bool:
    return value is None or value in ("", [], {}) or (isinstance(value, str) and not value.strip())
