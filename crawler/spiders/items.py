"""Items as the outbox holds them: one line of valid UTF-8 JSON each.

An item is a mapping, such as a dict or an `Item`, a dataclass, a msgspec struct, an attrs class or a pydantic model.
The last two are known by their marks, so that nobody pays for importing those libraries. Fields keep their names; a
field that has no value yet is left out.

Numbers, text, booleans, None, lists and mappings stay as they are. NaN and infinities become null; dates and
times ISO 8601; bytes text (UTF-8, invalid bytes U+FFFD); sets sorted lists; decimals, UUIDs and enums what
msgspec writes; keys text. Lone surrogates, which real pages contain, become U+FFFD. Two keys of one dict that become
the same are an error, because one value would be lost.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from crawler.errors import CrawlerError
from crawler.parsing.charset import clean

_ATOMS = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})
# types that msgspec writes itself, always as valid text
_WRITTEN = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, Decimal, UUID)
_MAX_SHOWN = 80

_encode = msgspec.json.Encoder().encode


class ItemError(CrawlerError):
    """What a method of a spider gave cannot be used; the text names the field, its type and the remedy. `line` is that
    of the user's code, if it is known."""

    line = ""

    def __init__(self, why: str, method: str = "") -> None:
        """`method`: the name of the method if it is not the callback."""
        super().__init__(why)
        self.method = method


def encode_item(item: Any) -> bytes:
    """Return the item as one line of JSON. Raise `ItemError` if it is not an item or does not fit into JSON."""
    if not is_item(item):
        raise ItemError(
            "a callback may yield a Request or an item (a dict, an Item, a dataclass, a msgspec struct, an attrs class "
            f"or a pydantic model), not {shown_value(item)}"
        )
    try:
        if type(item) is dict and _is_plain(item):
            return _encode(item)
    except (UnicodeEncodeError, RecursionError):
        pass  # `_as_json` cleans lone surrogates, and names the field that is nested too deep
    return _encode(_as_json(item, ""))


_no_value = re.compile(rb'\{(?:"(?:[^"\\]++|\\.)*+":(?:null|""|\[\]|\{\}),?)*\}').fullmatch


def is_empty(line: bytes) -> bool:
    """Return whether no field of an encoded item has a value: all are null, empty text, lists or objects."""
    return _no_value(line) is not None


def is_item(value: Any) -> bool:
    """Return whether the value can be an item: a mapping, or an object of a class that declares its fields."""
    if isinstance(value, (Mapping, msgspec.Struct)):
        return True
    return not isinstance(value, type) and any(hasattr(type(value), mark) for mark in _MARKS)


# where dataclasses, attrs, pydantic 2 and pydantic 1 keep the fields of a class
_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__", "__fields__")


def is_item_class(cls: type) -> bool:
    """Return whether the class declares the fields of its items."""
    if issubclass(cls, Mapping):
        return isinstance(getattr(cls, "fields", None), Mapping)
    return issubclass(cls, msgspec.Struct) or any(hasattr(cls, mark) for mark in _MARKS)


def declared(cls: type) -> Iterator[str]:
    """Yield the names of the fields that a class of `_MARKS` declares."""
    if dataclasses.is_dataclass(cls):
        yield from (field.name for field in dataclasses.fields(cls))
        return
    fields = next(getattr(cls, mark) for mark in _MARKS[1:] if hasattr(cls, mark))
    yield from fields if isinstance(fields, Mapping) else (field.name for field in fields)


def _is_plain(value: Any) -> bool:
    """Return whether the encoder writes the value correctly (lone surrogates aside); true for most items."""
    kind = type(value)
    if kind is dict:
        return _TEXT.issuperset(map(type, value)) and _all_plain(value.values())
    if kind is list or kind is tuple:
        return _all_plain(value)
    return kind in _ATOMS


def _all_plain(values: Any) -> bool:
    return _ATOMS.issuperset(map(type, values)) or all(map(_is_plain, values))


def _as_json(value: Any, field: str) -> Any:
    """Convert a value to types that the encoder writes correctly. `field` is the path to it, for errors."""
    try:
        return _converted(value, field)
    except RecursionError:
        raise ItemError(f"{_name(field)}: nested too deep, or contains itself") from None


def _converted(value: Any, field: str) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):  # subclasses too, such as numpy's numbers
        if isinstance(value, kind):
            return clean(str(value)) if kind is str else kind(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, _WRITTEN):
        return value
    if isinstance(value, (list, tuple)):
        return [_converted(part, f"{field}[{place}]") for place, part in enumerate(value)]
    if is_item(value):
        fields = {_key(key): _converted(part, f"{field}.{key}") for key, part in _fields(value)}
        if isinstance(value, (dict, Mapping)) and len(fields) < len(value):  # `dict` alone is faster for most
            _check_keys(value, field)
        return fields
    if isinstance(value, (set, frozenset)):
        return sorted((_converted(part, f"{field}{{}}") for part in value), key=_order)
    if type(value).__module__.startswith("pydantic"):  # its URLs and secrets, which show themselves as people may read
        return clean(str(value))
    raise ItemError(f"{_name(field)}: {shown_value(value)} cannot be stored{_way_out(value)}")


def _fields(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, msgspec.Struct):
        if value.__struct_config__.tag is not None:
            yield value.__struct_config__.tag_field, value.__struct_config__.tag
        for name, field in zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True):
            if (part := getattr(value, field)) is not msgspec.UNSET:
                yield name, part
    else:
        more = getattr(value, "model_extra", None) or ()  # what a model of pydantic was given beside its fields
        yield from ((name, getattr(value, name)) for name in (*declared(type(value)), *more) if hasattr(value, name))


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else clean(str(key))


def _check_keys(value: Mapping[Any, Any], field: str) -> None:
    keys: dict[str, Any] = {}
    for key in value:
        first = keys.setdefault(name := _key(key), key)
        if first is not key:
            raise ItemError(
                f"{_name(field)}: its keys {first!r} and {key!r} are both {name!r} in JSON; name them apart"
            )


def _order(value: Any) -> tuple[str, Any]:
    """Return a sort key that never fails: numbers among numbers, text among text, anything else by its JSON."""
    if isinstance(value, (int, float)):
        return "", value
    return type(value).__name__, value if isinstance(value, str) else _encode(value)


def _name(field: str) -> str:
    return f"item field {field.removeprefix('.')}" if field else "item"


def item_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the items' classes, "" for a dict; empty if all are dicts."""
    kinds = tuple("" if name == dict.__name__ else name for name in names)
    return kinds if any(kinds) else ()


def item_keys(fields: Sequence[str], lines: Sequence[bytes]) -> tuple[str, ...]:
    """Return the key of each encoded item, a hash of these fields' values; empty for an item without all of them.

    Without fields, returns no keys.
    """
    return tuple(_key_of(fields, msgspec.json.decode(line)) for line in lines) if fields else ()


def _key_of(fields: Sequence[str], item: Mapping[str, Any]) -> str:
    if any(field not in item for field in fields):
        return ""
    values = msgspec.json.encode([item[field] for field in fields], order="deterministic")
    return base64.b64encode(blake2b(values, digest_size=12).digest()).decode()  # two alike in 10⁹ items: 1 in 10¹¹


def shown_value(value: Any) -> str:
    """Return the value's type and the beginning of its `repr`, for errors."""
    shown = repr(value)
    shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
    return f"{type(value).__name__} ({shown})"


def _way_out(value: Any) -> str:
    if hasattr(value, "getall") or hasattr(value, "get"):
        return "; a selector gives its text with .get() or .getall()"
    if callable(value):
        return "; it was not called"
    return "; convert it to text, a number, a list or a dict first"
