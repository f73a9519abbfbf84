"""The fields of an answer's head, by name in any case (RFC 9110 §5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

_SINGLE = frozenset(
    {"content-length", "content-location", "etag", "last-modified", "location", "refresh", "retry-after"}
)
_BY_LINE = frozenset({"set-cookie", "x-robots-tag"})


class Headers(Mapping[str, str]):
    """A mapping of names, in any case, to values; iteration gives the names in lower case.

    `headers[name]` is one text even if the host sent several fields of that name: the first of those that may stand
    only once (`Location`), else all of them with commas between (RFC 9110 §5.3). `Set-Cookie` and `X-Robots-Tag` have
    line breaks between, because a comma has another meaning in them. `getlist` keeps the fields apart. A name may be
    bytes, as in Scrapy; a value is text, which Scrapy's is not.
    """

    __slots__ = ("_fields",)
    _fields: Mapping[str, str | Sequence[str]]

    def __init__(self, fields: Mapping[str, str | Sequence[str]] | None = None) -> None:
        self._fields = {name.lower(): value for name, value in (fields or {}).items()}

    @classmethod
    def in_lower_case(cls, fields: Mapping[str, str | Sequence[str]]) -> Self:
        """The same without a copy, for names that are in lower case."""
        self = cls.__new__(cls)
        self._fields = fields
        return self

    def __getitem__(self, name: str | bytes) -> str:
        name = _lower(name)
        return _one(name, self._fields[name])

    def get(self, name: str | bytes, default: Any = None) -> Any:
        """The value, or `default` if the host did not send the field."""
        name = _lower(name)
        value = self._fields.get(name)
        return default if value is None else _one(name, value)

    def getlist(self, name: str | bytes) -> list[str]:
        """The values of all fields of this name, in order; empty if there is none."""
        values = self._fields.get(_lower(name), ())
        return [values] if isinstance(values, str) else list(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({dict(self._fields)!r})"


def _lower(name: str | bytes) -> str:
    return name.lower() if isinstance(name, str) else name.decode("latin-1").lower()


def _one(name: str, value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return value
    if name in _SINGLE:
        return value[0]
    return ("\n" if name in _BY_LINE else ", ").join(value)


# ---------------------------------------------------------------------------------------------------------
# Media types

_READ = 1_024  # a longer value is an attack, on the cache
_UNKNOWN = frozenset({"*/*", "unknown/unknown", "application/unknown"})  # MIME Sniffing §7
_QUOTED = r'"(?:[^"\\]|\\.)*+"?'
_VALUE = re.compile(rf'(?:{_QUOTED}|[^",])++')
_TYPE = re.compile(r"[ \t\r\n]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t\r\n]*(?:;|$)")
_CHARSET = re.compile(rf';[ \t\r\n]*charset=(?:"([^"\\]*)"?|([^";\s]*))|{_QUOTED}', re.IGNORECASE)


def media_type(content_type: str) -> str:
    """The media type in lower case that a Content-Type names, with its `charset` and no other parameter.

    Several fields, or values with commas between, are read as the Fetch standard does (§3.5, extract a MIME type):
    the last valid type counts, and keeps the charset of those of the same type before it. Empty if there is none, or
    if it says that the type is unknown (`*/*`). Reads the first `_READ` characters.
    """
    return _media_type(content_type[:_READ])


@lru_cache(1_024)
def _media_type(content_type: str) -> str:
    essence = charset = ""
    for value in _VALUE.findall(content_type):
        if (found := _TYPE.match(value)) is None or found[1].lower() in _UNKNOWN:
            continue
        if found[1].lower() != essence:
            essence, charset = found[1].lower(), ""
        named = [quoted or token for quoted, token in _CHARSET.findall(value, found.end(1)) if quoted or token]
        charset = named[0] if named else charset
    return f"{essence};charset={charset}" if charset else essence
