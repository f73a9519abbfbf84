"""Says in words for people what msgspec expected, and what it got."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_WORDS: Mapping[str, str] = {
    "expected `float`": "expected a number such as 0.5",
    "`object | array | null`": "a table or a list",
    "`object | array`": "a table or a list",
    "`float`": "a number",
    "`int`": "a whole number",
    "`str`": "text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
    "`null`": "None",
}


def expected(error: msgspec.ValidationError) -> str:
    """Return the text of the error, such as `expected a whole number, got text - at `$.keep``."""
    told = str(error)
    told = told[:1].lower() + told[1:]
    for name, words in _WORDS.items():
        told = told.replace(name, words)
    return told
