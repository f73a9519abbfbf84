"""Values of settings as people write them: Python's in a file, text on a command line and in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from crawler.parsing.expected import expected

_MOST: Mapping[type, int] = {float: 10**9, int: 10**12}
"""The largest numbers: 31 years in seconds, a terabyte. The queue server's numbers end not far beyond."""

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def converted(value: Any, kind: Any) -> Any:
    """Return the value as one of the type `kind`. Raise `ValueError`, which says what to write, if it is none."""
    if isinstance(value, str) and kind is not str:
        value = _from_text(value, kind)
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if get_origin(kind) is tuple:
        value = _in_order(value) if isinstance(value, Mapping) else value
        value = [*map(_path, value)] if isinstance(value, (list, tuple)) else value
    try:
        found = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(expected(error)) from None
    most = _MOST.get(type(found))
    if most and not abs(found) <= most:
        raise ValueError(f"expected a number up to {most:,}")
    return found


def plain(value: Any) -> Any:
    """Return a copy of a value of the user's own in JSON's types: sets and tuples become lists, a path its text.

    Raise `ValueError` for a value that cannot travel to worker processes.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, PurePath):
        return str(value)
    what = "a table whose names are not all text" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    raise ValueError(
        f"{what} cannot travel to worker processes; write text, numbers, lists or tables of them, or begin the name "
        "with _ if only this file reads it"
    )


def _path(given: Any) -> Any:
    """Return the import path of a class, which settings may give itself. Raise `ValueError` if it has none."""
    if not isinstance(given, type):
        return given
    if "<" in f"{given.__module__}{given.__qualname__}":
        raise ValueError(f"{given.__qualname__} cannot be imported from there; write it at the top of a module")
    return f"{given.__module__}.{given.__qualname__}"


def _in_order(numbered: Mapping[Any, Any]) -> list[Any]:
    """Return the names of `{name: number}` sorted by number, without those whose number is None. Raise `ValueError`."""
    numbers = {name: number for name, number in numbered.items() if number is not None}
    if not all(isinstance(number, (int, float)) for number in numbers.values()):
        raise ValueError("expected a number for each name, or None to leave it out")
    return sorted(numbers, key=numbers.__getitem__)


def _from_text(text: str, kind: Any) -> Any:
    text = text.strip()
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind is bool:
        if text.lower() not in _YES | _NO:
            raise ValueError("expected true or false")
        return text.lower() in _YES
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices and text not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}")
    if get_origin(kind) is tuple:
        if text.startswith(("[", "{")):
            return _of_json(text)
        return [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(kind) is Mapping or text.startswith("{"):
        return _of_json(text)
    return text


def _of_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f'expected JSON, such as {{"name": "value"}} or ["one", "two"]: {error}') from None
