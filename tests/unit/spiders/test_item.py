"""Declared items behave as Scrapy's do, which the same steps on both show."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import scrapy
from itemadapter import ItemAdapter

import crawler.spiders.adapters  # noqa: F401 - lets ItemAdapter know them
from crawler import Field, Item
from crawler.spiders.items import encode_item, is_item


class Quote(Item):
    text = Field(serializer=str)
    author = Field()


class Dated(Quote):
    day = Field()
    text = Field(shortest=3)


class TheirQuote(scrapy.Item):
    text = scrapy.Field(serializer=str)
    author = scrapy.Field()


class TheirDated(TheirQuote):
    day = scrapy.Field()
    text = scrapy.Field(shortest=3)


STEPS: list[Callable[[Any], Any]] = [
    lambda cls: cls.fields,
    lambda cls: cls(text="a", author="b") == {"author": "b", "text": "a"},
    lambda cls: list(cls({"author": "b"})),
    lambda cls: cls(author="b")["text"],
    lambda cls: cls(pages=3),
    lambda cls: cls().update(pages=3),
    lambda cls: cls().setdefault("pages", 3),
    lambda cls: cls().setdefault("day", 3),
    lambda cls: cls({"pages": 3}),
    lambda cls: cls(text="a").text,
    lambda cls: setattr(cls(), "text", "a"),
    lambda cls: cls(text="a").get("author", "nobody"),
    lambda cls: repr(cls(text="a")),
    lambda cls: cls(text=["a"]).copy(),
    lambda cls: cls(text=["a"]).deepcopy(),
    lambda cls: len({cls(text="a"), cls(text="a")}),
    lambda cls: cls(text="a").pop("text"),
    lambda cls: cls(text="a").keys() & {"text", "author"},
    lambda cls: "text" in cls(text="a"),
    lambda cls: hasattr(cls, "text"),
    lambda cls: ItemAdapter(cls(text="a")).asdict(),
    lambda cls: list(ItemAdapter(cls(text="a")).field_names()),
    lambda cls: dict(ItemAdapter(cls()).get_field_meta("text")),
    lambda cls: ItemAdapter(cls()).update({"pages": 3}),
    lambda cls: list(ItemAdapter.get_field_names_from_class(cls) or ()),
    lambda cls: pickle.loads(pickle.dumps(cls(text="a"))),  # noqa: S301 - our own bytes
    lambda cls: copy.copy(cls(text="a")),
]


def _outcome(step: Callable[[Any], Any], cls: type[Any]) -> Any:
    try:
        return step(cls)
    except (KeyError, AttributeError) as error:
        return type(error), str(error).replace("Their", "")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_ends_as_with_scrapys_items(step: Callable[[Any], Any]) -> None:
    assert _outcome(step, Dated) == _outcome(step, TheirDated)


def test_a_subclass_leaves_the_fields_of_its_base_alone() -> None:
    assert Quote.fields == {"text": {"serializer": str}, "author": {}}


def test_other_ways_to_set_a_field_know_the_declared_ones_too() -> None:
    quote = Quote(text="a")
    with pytest.raises(KeyError, match="Quote does not support field: pages"):
        quote |= {"pages": 3}
    quote |= {"author": "b"}
    assert quote == {"text": "a", "author": "b"}


def test_a_deep_copy_shares_nothing_and_a_copy_its_values() -> None:
    quote = Quote(text=["a"])
    deep, shallow = quote.deepcopy(), quote.copy()
    quote["text"].append("b")
    assert (deep["text"], shallow["text"]) == (["a"], ["a", "b"])
    assert type(deep) is type(shallow) is Quote


def test_it_is_written_as_its_fields() -> None:
    quote = Quote(text="a", author=Dated(day=1))
    assert is_item(quote)
    assert json.loads(encode_item(quote)) == {"text": "a", "author": {"day": 1}}
