"""Values that travel through the queue: those of JSON's own types. Others raise `ValueError` in words for the author
of the spider."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from msgspec import Struct

from crawler.parsing.charset import clean

MAX_NESTING = 100
"""Levels of lists and dicts in `meta`: far below the limit of any JSON parser."""

_MAX_SHOWN = 80  # characters of a value in an error


def json_object(field: str, value: Any) -> dict[str, Any]:
    """A copy of a mapping in JSON's own types. Raises `ValueError`."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise unfit(field, value, "a dict")
    copy: dict[str, Any] = json_value(field, value)
    return copy


def json_value(field: str, value: Any, level: int = 0) -> Any:
    """A copy in JSON's own types. `field` is the path to it, for errors. Raises `ValueError`."""
    if is_plain(value):
        return value
    if level < MAX_NESTING and (type(value) is dict or isinstance(value, Mapping)):
        copy = {
            key if type(key) is str and key.isascii() else text(f"{field}: the key", key): part
            if is_plain(part := value[key])
            else json_value(f"{field}[{key!r}]", part, level + 1)
            for key in value
        }
        if len(copy) == len(value):
            return copy
    if isinstance(value, str):
        return text(field, value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__float__(value)
    if level >= MAX_NESTING:
        raise ValueError(f"{field[:200]} is nested deeper than {MAX_NESTING} levels, or contains itself")
    if isinstance(value, (list, tuple)):
        return [json_value(f"{field}[{place}]", part, level + 1) for place, part in enumerate(value)]
    raise unfit(field, value, "text, a number, True, False, None, a list or a dict")


def is_plain(value: Any) -> bool:
    """Whether it certainly arrives as it is; the path to it is then not needed."""
    kind = type(value)
    return kind in _PLAIN or (kind is str and value.isascii())


def text(field: str, value: Any) -> str:
    """The text without lone surrogates. Raises `ValueError` for what is no text."""
    if not isinstance(value, str):
        raise unfit(field, value, "text")
    return clean(str.__str__(value))  # a subclass may override __str__


_PLAIN = frozenset({int, bool, type(None)})


def unfit(field: str, value: Any, wanted: str) -> ValueError:
    """The error for a value of a type that does not travel."""
    for kinds, way in _WAYS_OUT:
        if isinstance(value, kinds):
            wanted = f"{wanted}, such as {way}"
            break
    return ValueError(f"{field} is {shown(value)}, which would not arrive unchanged; write {wanted}")


_WAYS_OUT: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((bytes, bytearray), "value.decode()"),
    ((datetime.date, datetime.time), "value.isoformat()"),
    ((set, frozenset), "sorted(value)"),
    ((int, float, Decimal, UUID), "str(value)"),
    (Enum, "value.value"),
    (Struct, "msgspec.to_builtins(value)"),
)


def shown(value: Any) -> str:
    """The type and the value, shortened, as errors show it."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '…'}"
