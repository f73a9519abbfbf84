"""Items as the rows of a table: which column a field has, of which type. One rule for all outputs with typed columns.

A column's type is the narrowest that holds all its values so far, and it only grows wider:

    null → bool           → text
    null → int   → float  → text
    null → text

An int beyond 2^53 does not become a float, which would change its digits, but text; so does a number that neither a
64-bit int nor a float can hold. A list or an object is text: its JSON. In a column of text a text is itself, and any
other value its JSON. Fields that can have no column of their own stand together in the column `_other`, as one JSON
object: those beyond the first `MOST` columns, one without a name, and one named `_other`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Any, Final

import msgspec

MOST = 1_000
"""Columns that the fields of items get at most."""

OTHER: Final = "_other"

_EXACT: Final = 2**53  # the largest int up to which a float holds each
_LONG: Final = 2**63


class Kind(StrEnum):
    """The type of a column."""

    NULL = "null"  # no value yet
    BOOL = "bool"
    INT = "int"
    BIG = "big int"  # one of 64 bits, of which a float cannot hold each digit
    FLOAT = "float"
    TEXT = "text"


class Columns:
    """The columns that the items so far need, by name."""

    def __init__(self, kinds: Mapping[str, str] | None = None) -> None:
        """`kinds`: those of earlier items of the same table."""
        self.kinds = {name: Kind(kind) for name, kind in (kinds or {}).items()}

    def widen(self, items: Iterable[bytes]) -> None:
        """Make room for these items, each a JSON object in UTF-8."""
        for item in items:
            for name, value in self._fields(item).items():
                kind, known = _kind(value), self.kinds.get(name)
                if kind is not known:
                    self.kinds[name] = kind if known is None else wider(known, kind)

    def declare(self, kinds: Mapping[str, Kind]) -> None:
        """Make room for values of these kinds, of which there may be none yet."""
        for name, kind in kinds.items():
            if name in self.kinds:
                self.kinds[name] = wider(self.kinds[name], kind)
            elif len(self.kinds) < MOST and name not in ("", OTHER):
                self.kinds[name] = kind

    def values(self, items: Sequence[bytes]) -> dict[str, list[Any]]:
        """Return the values of each column, one an item; None where an item has none."""
        columns: dict[str, list[Any]] = {name: [None] * len(items) for name in self.kinds}
        readers = {name: _READERS[kind] for name, kind in self.kinds.items()}
        for row, item in enumerate(items):
            for name, value in self._fields(item).items():
                if value != b"null":
                    columns[name][row] = readers[name](value)
        return columns

    def _fields(self, item: bytes) -> dict[str, bytes]:
        """Return the JSON of each field by the name of its column."""
        fields = {name: bytes(value) for name, value in _read_object(item).items()}
        if fields.keys() <= self.kinds.keys() and OTHER not in fields:
            return fields
        room = MOST - len(self.kinds)
        new = [name for name in fields if name not in self.kinds and name not in ("", OTHER)]
        has_column = (self.kinds.keys() | set(new[:room])) - {OTHER}
        own = {name: value for name, value in fields.items() if name in has_column}
        others = {name: msgspec.Raw(value) for name, value in fields.items() if name not in has_column}
        return own | {OTHER: msgspec.json.encode(others)} if others else own


def _kind(value: bytes) -> Kind:
    return _BY_FIRST.get(value[0]) or _kind_of_number(value)


def _kind_of_number(value: bytes) -> Kind:
    if not value.lstrip(b"-").isdigit():
        return Kind.FLOAT if isfinite(float(value)) else Kind.TEXT
    if len(value) > len(str(-_LONG)):
        return Kind.TEXT
    number = int(value)
    if -_EXACT <= number <= _EXACT:
        return Kind.INT
    return Kind.BIG if -_LONG <= number < _LONG else Kind.TEXT


def wider(one: Kind, other: Kind) -> Kind:
    """Return the narrowest type that holds the values of both."""
    kinds = {one, other} - {Kind.NULL}
    return kinds.pop() if len(kinds) == 1 else _BOTH.get(frozenset(kinds), Kind.TEXT)


_BOTH: Final = {frozenset((Kind.INT, Kind.BIG)): Kind.BIG, frozenset((Kind.INT, Kind.FLOAT)): Kind.FLOAT}


def _text(value: bytes) -> str:
    return _read_text(value) if value[:1] == b'"' else value.decode()


_read_text = msgspec.json.Decoder(str).decode
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_READERS: Final[Mapping[Kind, Callable[[bytes], Any]]] = {
    Kind.NULL: lambda _: None,
    Kind.BOOL: lambda value: value == b"true",
    Kind.INT: int,
    Kind.BIG: int,
    Kind.FLOAT: float,
    Kind.TEXT: _text,
}
_BY_FIRST: Final = {
    ord("n"): Kind.NULL,
    **dict.fromkeys(b"tf", Kind.BOOL),
    **dict.fromkeys(b'"{[', Kind.TEXT),
}
"""The first byte of a JSON value → its kind; others begin a number."""
