"""Reads in how many items each field is filled: what `lua/lib/coverage.lua` has stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from crawler.frontier.rules import COVERED_FIELDS, LACKING_SHOWN
from crawler.model import Filled
from crawler.status import Coverage, FieldCoverage

_PAGE = re.compile(rb"([^\n]*)\n[^\n]*\n[^\"]*\"([^\"]*)")  # counts, keys of items, a message with its URL
_TOTAL = re.compile(r"[0-9]{1,15}").match


class Noted(msgspec.Struct, frozen=True):
    """What a commit takes of a `Filled`."""

    key: str
    items: int
    counts: str


def noted(filled: Filled) -> Noted:
    """Return the counts of a page as its window holds them: pages with the same counts have the same text."""
    counts = {"items": filled.items, "others": filled.others, "fields": filled.fields}
    return Noted(f"{filled.callback}\t{filled.kind}", filled.items, msgspec.json.encode(counts).decode())


class _Counts(msgspec.Struct, frozen=True):
    """The counts of one key, or of one page in its window."""

    items: int = 0
    pages: int = 0
    others: int = 0
    fields: Mapping[str, str | int] = {}  # name → items in which it is filled, and more


def read_coverage(key: bytes, record: bytes, window: Iterable[bytes], lacking: Mapping[bytes, bytes]) -> Coverage:
    """Add the pages in the window of a key to its record. What cannot be read counts as nothing, as for the scripts."""
    total = _read(record)
    pages = [(_read(found[1]), _text(found[2])) for found in map(_PAGE.match, window) if found]
    fields: dict[str, int] = {}
    others = total.others + sum(page.others for page, _ in pages)
    for one in (total, *(page for page, _ in pages)):
        for name, filled in one.fields.items():
            if name in fields or len(fields) < COVERED_FIELDS:
                fields[name] = fields.get(name, 0) + _number(filled)
            else:
                others += _number(filled)
    examples = {name: _text(lacking.get(b"%b\t%b" % (key, name.encode()), b"")).split() for name in fields}
    for name, urls in examples.items():
        urls += [url for page, url in pages if _number(page.fields.get(name, 0)) < page.items]
    callback, _, kind = _text(key).rpartition("\t")
    return Coverage(
        callback,
        kind,
        total.items + sum(page.items for page, _ in pages),
        total.pages + len(pages),
        {name: FieldCoverage(filled, tuple(examples[name][:LACKING_SHOWN])) for name, filled in fields.items()},
        others,
    )


def _read(text: bytes) -> _Counts:
    try:
        return msgspec.json.decode(text, type=_Counts)
    except (ValueError, RecursionError):
        return _Counts()


def _number(filled: str | int) -> int:
    found = _TOTAL(str(filled))
    return int(found[0]) if found else 0


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
