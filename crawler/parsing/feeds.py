"""FEEDS: outputs in settings, with Scrapy's words and some of ours. Each word is obeyed, or an error says what to
write."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from crawler.parsing.expected import expected
from crawler.parsing.scrapy_settings import Missing, is_off, is_utf_8

Fields = tuple[str, ...] | Mapping[str, str]
"""The fields of an output, in their order; with a table, field of the item → its name there. Empty: all as they are."""


class Feed(Struct, frozen=True, forbid_unknown_fields=True):
    """What FEEDS says of one output."""

    format: str = ""  # as the ending of the name says it
    fields: Fields | None = None
    overwrite: bool = False
    item_classes: tuple[str, ...] = ()  # import paths; empty: items of all
    spiders: tuple[str, ...] = ()  # empty: items of all
    batch_item_count: Annotated[int, Meta(ge=0)] = 0  # items after which the next file begins; 0: never
    batch_bytes: Annotated[int, Meta(ge=0)] = 0
    batch_seconds: Annotated[float, Meta(ge=0)] = 0.0


_MISSING: Mapping[str, Missing] = {
    "encoding": Missing(
        "items are written in UTF-8; convert the file afterwards: iconv -f UTF-8 -t VALUE",
        is_utf_8,
    ),
    "indent": Missing("", lambda value: True),
    "item_export_kwargs": Missing("write a class of your own for them: python:MODULE:CLASS", is_off),
    "item_filter": Missing("write item_classes or spiders, or a class of your own: python:MODULE:CLASS", is_off),
    "postprocessing": Missing("the ending of the name says it: items.jsonl.gz, items.jsonl.zst", is_off),
    "store_empty": Missing("", lambda value: True),
    "uri_params": Missing(
        "settings.py may compute the name; places in it are %(name)s, %(time)s, %(batch_id)d", is_off
    ),
}
"""Words of Scrapy's that no output has, and the values of each for which nothing is missing."""


def plain_form(name: str, value: Any) -> Any:
    """Return the value of a setting `FEED…` with text for its paths and classes, as far as it has the right form."""
    if name == "FEEDS" and isinstance(value, Mapping):
        return {_name_of(uri): _plain(words) for uri, words in value.items()}
    if name == "FEED_URI":
        return _name_of(value)
    if name == "FEED_EXPORT_FIELDS" and isinstance(value, str) and value[:1] not in ("{", "["):
        return [field.strip() for field in value.split(",") if field.strip()]
    return value


def _plain(words: Any) -> Any:
    if not isinstance(words, Mapping):
        return words
    lists = {name: [*map(_path, value)] for name, value in words.items() if isinstance(value, (list, tuple, set))}
    return {**{name: _path(value) for name, value in words.items()}, **lists}


def _name_of(uri: Any) -> Any:
    """Return where an output is, as the command line names it: Scrapy also has `file:` and `stdout:` URLs."""
    if isinstance(uri, PurePath):
        return str(uri)
    if not isinstance(uri, str):
        return uri
    return "-" if uri == "stdout:" else uri.removeprefix("file://") if uri.startswith("file:///") else uri


def feed_of(words: Mapping[str, Any]) -> Feed:
    """Return what the words say. Raise `ValueError` for those that cannot be obeyed."""
    kept = {}
    for name, value in words.items():
        if missing := _MISSING.get(name):
            if not missing.fine(value):
                raise ValueError(f"{name} = {str(value)[:60]!r}: {missing.words.replace('VALUE', str(value)[:60])}")
        elif name not in Feed.__struct_fields__:
            raise ValueError(f"unknown word {name!r}; {_near(name)}")
        elif value is not None:
            kept[name] = value
    try:
        feed = msgspec.convert(kept, Feed, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = expected(error).partition(" - at `$.")
        raise ValueError(f"{path.rstrip('`')}: {what}") from None
    if why := wrong_fields(feed.fields):
        raise ValueError(f"fields: {why}")
    return feed


def problems(feeds: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each output whose words cannot be obeyed, and why."""
    for uri, words in feeds.items():
        try:
            if not uri:
                raise ValueError("an output needs a name, such as items.jsonl")
            feed_of(words)
        except ValueError as error:
            yield uri, str(error)


def wrong_fields(fields: Fields | None) -> str:
    """Return why an output cannot have these fields; empty if it can."""
    names = [name for _, name in renaming(fields)]
    twice = next((name for name in names if names.count(name) > 1), None)
    return "" if twice is None else f"the name {twice!r} stands there twice; give each field a name of its own"


def renaming(fields: Fields | None) -> tuple[tuple[str, str], ...]:
    """Return field of the item → its name in the output, in the output's order."""
    return tuple(fields.items()) if isinstance(fields, Mapping) else tuple((name, name) for name in fields or ())


def _path(given: Any) -> Any:
    """Return the import path of a class, which a word may give itself."""
    return f"{given.__module__}.{given.__qualname__}" if isinstance(given, type) else given


def _near(name: str) -> str:
    known = (*Feed.__struct_fields__, *_MISSING)
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(Feed.__struct_fields__)}"
