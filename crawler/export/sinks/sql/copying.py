"""Values as PostgreSQL's COPY reads them in its text format."""

from __future__ import annotations

from typing import Final

import msgspec

from crawler.export.sinks.sql.fields import BadValue, Kind, kind_of, text_of

NULL: Final = rb"\N"

_INTEGERS: Final = ("smallint", "integer", "bigint")
_FLOATS: Final = ("real", "double precision")
_EXACT: Final = 2**53  # the largest integer up to which a float holds each
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def copy_text(value: bytes, declared: str) -> bytes:
    """Return a value, given as JSON, for a column of that type, as `format_type` names it. Raise `BadValue`."""
    kind = kind_of(value)
    if kind is Kind.NULL:
        return NULL
    if declared in ("json", "jsonb"):
        return _escaped(value)
    if kind is Kind.TEXT:
        return _escaped(value[1:-1] if b"\\" not in value else _text(value))
    if kind is Kind.LIST and declared.endswith("[]"):
        return _escaped(_array(value))
    if kind is Kind.FLOAT and declared in _INTEGERS and float(value).is_integer():
        return b"%d" % int(float(value))
    if kind is Kind.INTEGER and declared in _FLOATS and abs(int(value)) > _EXACT:
        raise BadValue(f"{value.decode()} has more digits than a column of type {declared} keeps")
    return _escaped(value)


def _text(value: bytes) -> bytes:
    text = text_of(value)
    if "\0" in text:
        raise BadValue("it contains a NUL, which PostgreSQL cannot store")
    return text.encode()


def _array(value: bytes) -> bytes:
    """Return a list in PostgreSQL's own form of arrays."""
    parts = []
    for part in _LIST.decode(value):
        one = bytes(part)
        if kind_of(one) is Kind.LIST:
            parts.append(_array(one))
        elif kind_of(one) is Kind.NULL:
            parts.append(b"NULL")
        else:
            text = _text(one) if one[:1] == b'"' else one
            parts.append(b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"')
    return b"{" + b",".join(parts) + b"}"


def _escaped(text: bytes) -> bytes:
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    for byte, mark in _CONTROLS:
        if byte in text:
            text = text.replace(byte, mark)
    return text


_CONTROLS: Final = ((b"\n", rb"\n"), (b"\t", rb"\t"), (b"\r", rb"\r"))
