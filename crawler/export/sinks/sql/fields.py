"""The fields of an item as they stand in its JSON, and which type of column suits them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Struct

from crawler.model import BadItem, OutboxEntry
from crawler.runtime.safe_text import shown


class Kind(StrEnum):
    """The type of a JSON value, by the word for people."""

    NULL = "null"
    BOOLEAN = "boolean"
    INTEGER = "integer"  # of 64 bits
    NUMBER = "number"  # that neither 64 bits nor a float can hold
    FLOAT = "float"
    TEXT = "text"
    LIST = "list"
    OBJECT = "object"


class BadValue(Exception):
    """A table cannot hold a value, or a field of that name."""


class Row(Struct, frozen=True):
    """An item on its way into a table."""

    entry: OutboxEntry
    number: int  # of the item within its page
    fields: Mapping[str, bytes]  # name → JSON of the value
    values: Mapping[str, Any] = {}  # column → what the database is given

    def bad(self, why: str) -> BadItem:
        """Return it as an item that cannot be stored."""
        return BadItem(self.entry.shard, self.entry.position, self.number, why)


def read_fields(item: bytes) -> dict[str, bytes]:
    """Return name → JSON of the value, for an item with at least one field. Raise `BadValue`."""
    try:
        fields = {name: bytes(value) for name, value in _OBJECT.decode(item).items()}
    except ValueError as error:
        raise BadValue(_wrong_field(item) or f"the item is no JSON object in UTF-8 ({error})") from None
    if not fields:
        raise BadValue("the item has no field")
    return fields


def kind_of(value: bytes) -> Kind:
    """Return the type of a value, given as JSON."""
    return _BY_FIRST.get(value[0]) or _kind_of_number(value)


def common(kinds: Iterable[Kind]) -> Kind:
    """Return the narrowest type for a column with values of these types, of which text holds all."""
    found = set(kinds) - {Kind.NULL}
    if len(found) == 1:
        return found.pop()
    if found == {Kind.INTEGER, Kind.FLOAT}:
        return Kind.FLOAT
    if found and found <= {Kind.INTEGER, Kind.FLOAT, Kind.NUMBER}:
        return Kind.NUMBER
    return Kind.OBJECT if found == {Kind.LIST, Kind.OBJECT} else Kind.TEXT


def text_of(value: bytes) -> str:
    """Return a text as it is, and any other value as its JSON. Raise `BadValue` for what is no text in UTF-8."""
    try:
        return _TEXT.decode(value) if value[:1] == b'"' else value.decode()
    except ValueError:
        raise BadValue("half of a surrogate pair, or no UTF-8, in it") from None


def new_columns(rows: Sequence[Row], known: Iterable[str]) -> dict[str, Kind]:
    """Return field → type of column, for fields of the rows that are not known; without those that are always null,
    unless there would be no column at all."""
    known, found = frozenset(known), dict[str, set[Kind]]()
    for row in rows:
        for field in row.fields.keys() - known:
            found.setdefault(field, set()).add(kind_of(row.fields[field]))
    order = dict.fromkeys(field for row in rows for field in row.fields if field in found) if found else {}
    filled = {field: common(found[field]) for field in order if found[field] != {Kind.NULL}}
    return filled if filled or known else dict.fromkeys(order, Kind.TEXT)


def _wrong_field(item: bytes) -> str:
    """Return which field of an item is no proper JSON, though Python reads it; empty if none is."""
    try:
        for name, value in json.loads(item).items():
            try:
                json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode()
            except UnicodeEncodeError:
                return f"field {shown(name)} (text): half of a surrogate pair in it"
            except ValueError:
                return f"field {shown(name)} (number): it is NaN or infinite, or has one in it"
    except (ValueError, AttributeError, RecursionError):
        pass  # the caller says so
    return ""


def _kind_of_number(value: bytes) -> Kind:
    if value.lstrip(b"-").isdigit():
        return Kind.INTEGER if len(value) < _DIGITS or -_LONG <= int(value) < _LONG else Kind.NUMBER
    return Kind.FLOAT if isfinite(float(value)) else Kind.NUMBER


_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_LONG: Final = 2**63
_DIGITS: Final = len(str(_LONG))  # fewer bytes are always an integer of 64 bits
_BY_FIRST: Final = {
    ord("n"): Kind.NULL,
    ord("t"): Kind.BOOLEAN,
    ord("f"): Kind.BOOLEAN,
    ord('"'): Kind.TEXT,
    ord("["): Kind.LIST,
    ord("{"): Kind.OBJECT,
}
"""The first byte of a JSON value → its type; others begin a number."""
