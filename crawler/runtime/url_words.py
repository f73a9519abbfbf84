"""The words after the `?` of a URL, such as `queue=urls&prefetch=1000`."""

from __future__ import annotations

import difflib
import re
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from crawler.errors import ConfigError
from crawler.parsing.expected import expected
from crawler.runtime.safe_text import shown

Words = TypeVar("Words", bound=Struct)


def read(query: str, base: str, words: type[Words]) -> Words:
    """Return the words as a struct, whose fields without a default are required. `base` is the URL before the `?`, for
    people. Raise `ConfigError` for a word that is unknown, missing, given twice, or not of its field's type."""
    where = shown(f"{base}?{query}")
    known = words.__struct_fields__
    given = parse_qsl(query, keep_blank_values=True)
    for name, _ in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown word {shown(name)!r}{hint}")
    values = dict(given)
    if len(values) < len(given):
        raise ConfigError(f"{where}: a word is given twice")
    try:
        return msgspec.convert(values, words, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_in_words(error)}") from None


def has_word(url: str, name: str) -> bool:
    """Return whether the query of the URL has this word, with whatever value."""
    return any(word == name for word, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True))


def _in_words(error: msgspec.ValidationError) -> str:
    missing = re.search(r"missing required field `(\w+)`", str(error))
    if missing:
        return f"{missing[1]} is missing; write ?{missing[1]}=NAME"
    what, _, path = expected(error).partition(" - at `$.")
    return f"{path.rstrip('`')}: {what}" if path else what
