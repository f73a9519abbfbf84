"""Items become one line of valid UTF-8 JSON, whatever a page or a spider author put in."""

import dataclasses
import datetime
import enum
import json
import math
import types
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pydantic
import pydantic.v1
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.spiders.items import ItemError, encode_item, is_item, item_keys, item_kinds


@dataclasses.dataclass
class Offer:
    price: float
    seen: set[str]


class Product(msgspec.Struct):
    name: str
    offers: list[Offer]
    note: str | msgspec.UnsetType = msgspec.UNSET


class Tagged(msgspec.Struct, tag="kind-a", rename="camel"):
    long_name: bytes


class Text(str):
    __slots__ = ()


class Size(float):
    pass


class Colour(enum.Enum):
    RED = "red"


NOON = datetime.datetime(2026, 5, 4, 12, 0, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("item", "stored"),
    [
        ({}, {}),
        ({"a": 1, "b": [True, None, 1.5, "x"]}, {"a": 1, "b": [True, None, 1.5, "x"]}),
        ({"nested": {"list": [{"deep": "ü"}]}}, {"nested": {"list": [{"deep": "ü"}]}}),
        ({"n": math.nan, "i": math.inf, "j": -math.inf}, {"n": None, "i": None, "j": None}),
        ({"n": [math.nan], "b": b""}, {"n": [None], "b": ""}),
        ({"t": NOON}, {"t": "2026-05-04T12:00:01Z"}),
        ({"d": datetime.date(2026, 5, 4)}, {"d": "2026-05-04"}),
        ({"b": b"caf\xc3\xa9 \xff"}, {"b": "café \ufffd"}),
        ({"b": bytearray(b"x")}, {"b": "x"}),
        ({"s": {3, 1, 2}}, {"s": [1, 2, 3]}),
        ({"s": {"b", "a", 2, 10, None, NOON}}, {"s": [2, 10, None, "2026-05-04T12:00:01Z", "a", "b"]}),
        ({"t": ("x", {b"y"})}, {"t": ["x", ["y"]]}),
        ({1: "a", None: "b", b"c": "c", Colour.RED: "d"}, {"1": "a", "None": "b", "c": "c", "red": "d"}),
        ({"e": Colour.RED, "m": Decimal("1.50")}, {"e": "red", "m": "1.50"}),
        ({"u": uuid.UUID(int=1)}, {"u": "00000000-0000-0000-0000-000000000001"}),
        ({"big": 2**100}, {"big": 2**100}),
        ({"s": Text("x"), "n": Size(2)}, {"s": "x", "n": 2.0}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Offer(1.5, {"b", "a"}), {"price": 1.5, "seen": ["a", "b"]}),
        (Product("x", [Offer(math.nan, set())]), {"name": "x", "offers": [{"price": None, "seen": []}]}),
        (Tagged(b"n"), {"type": "kind-a", "longName": "n"}),
        ({"x": "a\nb\r\u2028"}, {"x": "a\nb\r\u2028"}),
    ],
)
def test_what_becomes_what(item: Any, stored: Any) -> None:
    line = encode_item(item)
    assert json.loads(line) == stored
    assert b"\n" not in line


@pytest.mark.parametrize(
    ("item", "stored"),
    [
        ({"t": "a\ud800b"}, {"t": "a\ufffdb"}),
        ({"t": ["\udcff"], "k\udfff": 1}, {"t": ["\ufffd"], "k\ufffd": 1}),
        ({"t": "\ud83d\ude00"}, {"t": "😀"}),
        (Offer(1, {"\ud800"}), {"price": 1, "seen": ["\ufffd"]}),
    ],
)
def test_lone_surrogates_are_replaced(item: Any, stored: Any) -> None:
    assert json.loads(encode_item(item).decode()) == stored


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("text", "attrs class or a pydantic model), not str ('text')"),
        (3, "not int (3)"),
        (None, "not NoneType"),
        (["a"], "not list"),
        (Offer, "not type"),
        ({"a": {"b": [1, object()]}}, "item field a.b[1]: object (<object"),
        ({"a": {"b": print}}, "it was not called"),
        (Product("x", [Offer(1, {complex(1)})]), "item field offers[0].seen{}: complex"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_stored_is_named(item: Any, told: str) -> None:
    with pytest.raises(ItemError) as caught:
        encode_item(item)
    assert told in str(caught.value)


def test_an_item_that_contains_itself_is_refused() -> None:
    item: dict[str, Any] = {}
    item["me"] = item
    with pytest.raises(ItemError, match="contains itself"):
        encode_item(item)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({1: "a", "1": "b"}, "item: its keys 1 and '1' are both '1' in JSON"),
        ({"ids": [{b"x": 1, "x": 2}]}, r"item field ids\[0\]: its keys b'x' and 'x'"),
        (dict.fromkeys(("a\ud800", "a\ufffd"), 1), "are both 'a\ufffd' in JSON"),
        ({None: {True: 1, "True": 2}}, "item field None: its keys True and 'True'"),
    ],
)
def test_keys_that_become_one_are_an_error(item: dict[Any, Any], said: str) -> None:
    """One of the values would be lost."""
    with pytest.raises(ItemError, match=said):
        encode_item(item)


def test_a_long_value_is_cut_in_the_error() -> None:
    with pytest.raises(ItemError) as caught:
        encode_item("x" * 1000)
    assert len(str(caught.value)) < 250


texts = st.text(st.characters(codec=None), max_size=20)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(), st.datetimes(), st.dates())
members = st.one_of(st.integers(), texts, st.none(), st.booleans(), st.binary(max_size=4))


def containers(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = texts | st.integers()
    return st.one_of(
        st.lists(part, max_size=4), st.dictionaries(keys, part, max_size=4), st.tuples(part), st.sets(members)
    )


values = st.recursive(leaves, containers, max_leaves=6)
plain = st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists, max_leaves=6)


@given(st.dictionaries(texts, values, max_size=5))
def test_any_item_becomes_one_line_of_valid_json(item: dict[str, Any]) -> None:
    line = encode_item(item)
    assert isinstance(json.loads(line.decode("utf-8")), dict)
    assert b"\n" not in line


@given(st.dictionaries(st.text(), plain, max_size=5))
def test_plain_items_come_back_as_they_were(item: dict[str, Any]) -> None:
    assert json.loads(encode_item(item)) == item


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        (b'{"url":"a","price":1}', b'{"price":2,"url":"a"}', True),
        (b'{"url":"a","price":1}', b'{"url":"b","price":1}', False),
        (b'{"url":{"x":1,"y":2}}', b'{"url":{"y":2,"x":1}}', True),
        (b'{"url":1}', b'{"url":"1"}', False),
        (b'{"url":null}', b'{"url":null}', True),
    ],
)
def test_items_with_equal_fields_have_one_key(one: bytes, other: bytes, are_one: bool) -> None:
    first, second = item_keys(("url",), [one, other])
    assert first
    assert (first == second) is are_one


def test_an_item_without_all_of_the_fields_has_no_key() -> None:
    assert item_keys(("url", "sku"), [b'{"url":"a"}', b'{"sku":null,"url":"a"}'])[0] == ""
    assert item_keys((), [b'{"url":"a"}']) == ()


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    site: pydantic.HttpUrl
    key: pydantic.SecretStr = pydantic.SecretStr("open")
    more: Any = None


class OldModel(pydantic.v1.BaseModel):
    pages: int = 3


@attrs.define
class Attrs:
    one: Any
    _hidden: int = 2
    later: Any = attrs.field(init=False)


@pytest.mark.parametrize(
    ("item", "stored"),
    [
        (
            Model(site="http://a.example/", key="k", more=[Attrs(OldModel())], extra={1}),  # type: ignore[arg-type, call-arg]
            {
                "site": "http://a.example/",
                "key": "**********",
                "more": [{"one": {"pages": 3}, "_hidden": 2}],
                "extra": [1],
            },
        ),
        (OldModel(pages=4), {"pages": 4}),
        (
            Attrs(Product("x", [Offer(1, set())])),
            {"one": {"name": "x", "offers": [{"price": 1, "seen": []}]}, "_hidden": 2},
        ),
    ],
)
def test_classes_of_attrs_and_pydantic_are_items(item: Any, stored: Any) -> None:
    assert is_item(item)
    assert json.loads(encode_item(item)) == stored


@pytest.mark.parametrize("cls", [Model, OldModel, Attrs, Offer])
def test_a_class_itself_is_no_item(cls: type) -> None:
    assert not is_item(cls)


def test_the_field_of_a_model_that_cannot_be_stored_is_named() -> None:
    with pytest.raises(ItemError, match=r"item field more\[0\]\.one: function .*; it was not called"):
        encode_item(Model(site="http://a.example/", more=[Attrs(lambda: 1)]))  # type: ignore[arg-type]


def test_the_class_of_each_item_unless_all_are_dicts() -> None:
    assert item_kinds(["dict", "Book", "dict"]) == ("", "Book", "")
    assert item_kinds(["dict", "dict"]) == item_kinds([]) == ()
