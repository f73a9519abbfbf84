"""The types of columns that the annotations of a class mean."""

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union

import pytest

from crawler.export.sinks.columns import MOST, OTHER, Columns, Kind
from crawler.export.sinks.declared import Declared, kind_of
from crawler.model import OutboxEntry

Size = Enum("Size", {"SMALL": "s", "LARGE": 1})
Level = IntEnum("Level", {"LOW": 1})
Price = NewType("Price", float)

TYPES: list[tuple[Any, Kind]] = [
    (bool, Kind.BOOL),
    (int, Kind.INT),
    (float, Kind.FLOAT),
    (str, Kind.TEXT),
    (int | None, Kind.INT),
    (Optional[bool], Kind.BOOL),  # noqa: UP045 - older code writes it so
    (int | float | None, Kind.FLOAT),
    (Union[int, str], Kind.TEXT),  # noqa: UP007
    (bool | int, Kind.TEXT),
    (Annotated[int | None, "of the shop"], Kind.INT),
    (Price, Kind.FLOAT),
    (Literal["a", None], Kind.TEXT),
    (Literal[1, 2], Kind.INT),
    (Size, Kind.TEXT),
    (Level, Kind.INT),
    (list[int], Kind.TEXT),
    (dict[str, Any] | None, Kind.TEXT),
    (Columns, Kind.TEXT),
    (bytes, Kind.TEXT),
    (Decimal, Kind.TEXT),
    (datetime.date, Kind.TEXT),
    (None, Kind.NULL),
    (Any, Kind.NULL),
    (object, Kind.NULL),
    (TypeVar("T"), Kind.NULL),
]


@pytest.mark.parametrize(("declared", "kind"), TYPES, ids=str)
def test_a_type_decides_the_column(declared: Any, kind: Kind) -> None:
    assert kind_of(declared) is kind


def test_each_class_is_told_once_and_only_if_an_item_of_it_is_wanted() -> None:
    asked: list[tuple[str, str]] = []

    def lookup(spider: str, kind: str) -> dict[str, Kind]:
        asked.append((spider, kind))
        return {kind: Kind.INT} if kind == "Book" else {}

    declared, four = Declared(lookup), (b"{}",) * 4
    kinds = ("Book", "", "Author", "Book")
    page = OutboxEntry(0, "1-0", four, spider="shop", kinds=kinds)
    assert list(declared.new([OutboxEntry(0, "0-0", four), page])) == [{"Book": Kind.INT}]
    assert list(declared.new([page])) == []
    assert asked == [("shop", "Book"), ("shop", "Author")]
    left_out = frozenset({0, 3})
    assert list(Declared(lookup).new([OutboxEntry(0, "1-0", four, kinds=kinds, left_out=left_out)])) == []


def test_declared_columns_grow_wider_and_obey_the_limits() -> None:
    columns = Columns({"a": "int"})
    columns.declare({"a": Kind.FLOAT, "": Kind.INT, OTHER: Kind.INT, **{f"c{n}": Kind.BOOL for n in range(MOST)}})
    assert len(columns.kinds) == MOST
    assert columns.kinds["a"] is Kind.FLOAT
    assert columns.kinds.keys().isdisjoint({"", OTHER})
    columns.widen([b'{"c0":"a text after all"}'])
    assert columns.kinds["c0"] is Kind.TEXT
