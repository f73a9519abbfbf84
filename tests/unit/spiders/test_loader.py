"""ItemLoader fills every kind of item from our responses, and agrees with Scrapy's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any

import attrs
import msgspec
import pydantic
import pytest
import scrapy.http
import scrapy.loader
from itemadapter import ItemAdapter
from itemloaders.processors import Join, MapCompose, TakeFirst

from crawler import Field, Item, ItemLoader, Response

HTML = b"<ul><li class=a>one <b>1</b></li><li>two</li></ul><p>3 apples</p>"


class Declared(Item):
    name = Field(input_processor=MapCompose(str.strip), output_processor=TakeFirst())
    rest = Field()


class Theirs(scrapy.Item):
    name = scrapy.Field(input_processor=MapCompose(str.strip), output_processor=TakeFirst())
    rest = scrapy.Field()


@dataclass
class Data:
    name: Any = field(default=None, metadata={"output_processor": TakeFirst()})
    rest: Any = None


@attrs.define
class Attrs:
    name: Any = attrs.field(default=None, metadata={"output_processor": TakeFirst()})
    rest: Any = None


class Model(pydantic.BaseModel):
    name: Any = None
    rest: Any = None


class Struct(msgspec.Struct):
    name: Annotated[Any, msgspec.Meta(extra={"output_processor": TakeFirst()})] = None
    rest: Any = None


def _ours(body: bytes = HTML, kind: str = "text/html") -> Response:
    return Response("http://a.example/", headers={"content-type": kind}, body=body)


def _fill(loader: Any) -> Any:
    loader.add_css("name", "li.a::text")
    loader.add_xpath("name", "//li[2]/text()")
    loader.add_value("rest", "x", str.upper)
    loader.add_css("rest", "p::text", re=r"\d+")
    inner = loader.nested_css("ul")
    inner.add_css("rest", "b::text")
    inner.nested_xpath("./li[2]").add_xpath("rest", "text()")
    loader.replace_value("nothing", None)
    got = loader.get_css("li::text", Join()), loader.get_xpath("//p/text()"), loader.get_collected_values("rest")
    return ItemAdapter(loader.load_item()).asdict(), got


def test_it_gives_what_scrapys_gives() -> None:
    theirs = scrapy.loader.ItemLoader(
        item=Theirs(), response=scrapy.http.HtmlResponse("http://a.example/", body=HTML, encoding="utf-8")
    )
    assert _fill(ItemLoader(item=Declared(), response=_ours())) == _fill(theirs)


@pytest.mark.parametrize("item", [Data(), Attrs(), Struct()])
def test_what_describes_a_field_counts_in_each_kind_of_item(item: Any) -> None:
    (filled, _) = _fill(ItemLoader(item=item, response=_ours()))
    assert filled == {"name": "one ", "rest": ["X", "3", "1", "two"]}


@pytest.mark.parametrize("item", [Model(), {}, None])
def test_items_without_processors_get_lists(item: Any) -> None:
    (filled, _) = _fill(ItemLoader(item=item, response=_ours()))
    assert filled == {"name": ["one ", "two"], "rest": ["X", "3", "1", "two"]}


def test_a_subclass_names_processors_and_the_item() -> None:
    class Loader(ItemLoader):
        default_item_class = Declared
        default_output_processor = TakeFirst()
        rest_in = MapCompose(str.title)
        rest_out = Join("+")

    loader = Loader(selector=_ours().css("ul")[0])
    loader.add_css("rest", "b::text").add_value("rest", ["a", "b"])
    assert loader.load_item() == Declared(rest="1+A+B")


def test_a_field_that_is_not_declared_is_named() -> None:
    with pytest.raises(KeyError, match="pages"):
        ItemLoader(item=Declared()).add_value("pages", 3)


def test_a_json_document_is_asked_with_jmespath() -> None:
    loader = ItemLoader(response=_ours(b'{"offers": [{"price": 1}, {"price": 2}]}', "application/json"))
    loader.add_jmes("price", "offers[].price")
    assert loader.load_item() == {"price": [1, 2]}


def test_a_struct_behaves_as_an_item_of_the_adapter() -> None:
    adapter = ItemAdapter(Struct(name="a"))
    adapter["rest"] = 1
    del adapter["name"]
    assert (adapter.asdict(), list(adapter.field_names())) == ({"rest": 1}, ["name", "rest"])
    with pytest.raises(KeyError, match="Struct does not support field: pages"):
        adapter["pages"] = 3
    with pytest.raises(KeyError):
        adapter["name"]


def test_without_the_package_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['itemloaders'] = None\n"
        "try:\n    from crawler import ItemLoader\nexcept Exception as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == "ItemLoader needs the extra `items`: pip install 'fleetcrawler[items]'\n"


def test_none_of_the_packages_is_imported_for_a_spider_without_them() -> None:
    program = (
        "import sys, crawler; crawler.Spider, crawler.Item; "
        "print({'itemadapter', 'itemloaders', 'pydantic', 'scrapy'} & sys.modules.keys())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == "set()\n"
