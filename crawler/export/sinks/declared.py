"""The columns that the class of an item asks for, so that a table has them before any item fills them.

An outbox entry knows the name of each item's class. Where the project's code is at hand, the class tells its fields and
their types; elsewhere nothing is declared, and columns come from the items alone.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import reduce
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from crawler.export.sinks.columns import Kind, wider
from crawler.model import OutboxEntry

Columns = Mapping[str, Kind]
Lookup = Callable[[str, str], Columns]
"""A spider and the name of its items' class → the columns that the class declares; none if it is not known."""


def nothing(spider: str, kind: str) -> Columns:
    """Declare no columns."""
    return {}


class Declared:
    """The columns that classes declare, those of each class once."""

    def __init__(self, lookup: Lookup = nothing) -> None:
        self._lookup = lookup
        self._told: set[tuple[str, str]] = set()

    def new(self, entries: Sequence[OutboxEntry]) -> Iterator[Columns]:
        """Yield the columns that the classes of these items declare, without classes that it has yielded before."""
        for entry in entries:
            for number, _ in entry.numbered() if entry.kinds else ():
                key = entry.spider, entry.kind(number)
                if key[1] and key not in self._told:
                    self._told.add(key)
                    if found := self._lookup(*key):
                        yield found


def kind_of(declared: Any) -> Kind:
    """Return the type of a column for values of a declared type, as they are in JSON. `NULL` if the type says nothing:
    then the values decide."""
    if get_origin(declared) is Annotated:
        return kind_of(get_args(declared)[0])
    if hasattr(declared, "__supertype__"):  # of a NewType
        return kind_of(declared.__supertype__)
    if get_origin(declared) in (Union, types.UnionType):
        return _widest(map(kind_of, get_args(declared)))
    if get_origin(declared) is Literal:
        return _widest(kind_of(type(value)) for value in get_args(declared))
    return _of_class(get_origin(declared) or declared)


def _of_class(cls: Any) -> Kind:
    if not isinstance(cls, type) or cls in (Any, object, types.NoneType):
        return Kind.NULL
    if issubclass(cls, Enum):
        return _widest(kind_of(type(member.value)) for member in cls)
    return next((kind for base, kind in _KINDS if issubclass(cls, base)), Kind.TEXT)


def _widest(kinds: Iterator[Kind]) -> Kind:
    return reduce(wider, kinds, Kind.NULL)


_KINDS: Final = ((bool, Kind.BOOL), (int, Kind.INT), (float, Kind.FLOAT))
"""What is a number in JSON; texts, times, lists and objects become text."""
