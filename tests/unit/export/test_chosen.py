"""A sink that gets a part of the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from crawler.errors import OutputError
from crawler.export.sinks.chosen import Chosen
from crawler.export.sinks.chosen import chosen as chosen_for
from crawler.export.target import Target
from crawler.interfaces import Gathering
from crawler.model import Exported, OutboxEntry


class Taking:
    """Implements `Sink`: it keeps what it gets, and fails when it is told to."""

    location, inode = "here", 7

    def __init__(self) -> None:
        self.entries: list[OutboxEntry] = []
        self.fails = False
        self.calls: list[str] = []

    async def open(self, exported: Exported) -> Mapping[int, str]:
        return exported.positions

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        if self.fails:
            raise OutputError("full")
        self.entries += entries
        return len([item for entry in entries for item in entry.numbered()])

    async def finish(self) -> None:
        self.calls.append("finish")

    async def close(self) -> None:
        self.calls.append("close")

    @property
    def items(self) -> list[bytes]:
        return [item for entry in self.entries for _, item in entry.numbered()]


def page(number: int, *items: bytes, spider: str = "shop", left_out: Sequence[int] = ()) -> OutboxEntry:
    return OutboxEntry(0, f"{number}-0", items, spider=spider, left_out=frozenset(left_out))


class TakingTogether(Taking):
    """Implements `Gathering`."""

    pages, seconds = 500, 60.0


def test_what_wants_all_needs_no_choice() -> None:
    inner = Taking()
    assert chosen_for(inner, Target("a")) is inner
    assert isinstance(chosen_for(inner, Target("a", fields=(("b", "b"),))), Chosen)


def test_pages_wait_for_each_other_also_where_a_part_of_them_is_wanted() -> None:
    """Otherwise an object store gets an object for each batch of the exporter."""
    together = chosen_for(TakingTogether(), Target("a", spiders=("shop",)))
    assert isinstance(together, Gathering)
    assert (together.pages, together.seconds) == (500, 60.0)
    assert not isinstance(chosen_for(Taking(), Target("a", spiders=("shop",))), Gathering)


async def test_a_sink_for_one_spider_gets_its_items_and_the_positions_of_all_pages() -> None:
    inner = Taking()
    chosen = Chosen(inner, Target("a", spiders=("shop",)))
    entries = [page(1, b'{"n":1}'), page(2, b'{"n":2}', spider="blog"), page(3, b'{"n":3}', b'{"n":4}', left_out=[0])]
    assert await chosen.write(entries) == 2
    assert inner.items == [b'{"n":1}', b'{"n":4}']
    assert [entry.position for entry in inner.entries] == ["1-0", "2-0", "3-0"]


async def test_fields_come_in_the_order_and_under_the_names_of_the_target() -> None:
    inner = Taking()
    chosen = Chosen(inner, Target("a", fields=(("url", "link"), ("price", "price"), ("gone", "gone"))))
    await chosen.write([page(1, b'{"price":1.10,"name":"x","url":"\\u00e9","n":{"a":[1]}}', b'{"name":"y"}')])
    assert inner.items == [b'{"link":"\\u00e9","price":1.10}', b"{}"], "the values keep their bytes"


async def test_what_is_left_out_is_counted_once_although_a_write_fails() -> None:
    inner = Taking()
    chosen = Chosen(inner, Target("a", spiders=("shop",)))
    batch = [page(1, b"{}", b"{}", spider="blog")]
    inner.fails = True
    with pytest.raises(OutputError):
        await chosen.write(batch)
    inner.fails = False
    await chosen.write(batch)
    with capture_logs() as logs:
        await chosen.finish()
    assert [(one["event"], one["items"]) for one in logs] == [("output_left_out", 2)]


async def test_all_else_is_the_sinks_own() -> None:
    inner = Taking()
    chosen = Chosen(inner, Target("a", spiders=("shop",)))
    assert (chosen.location, chosen.inode) == ("here", 7)
    assert await chosen.open(Exported({0: "1-0"})) == {0: "1-0"}
    await chosen.finish()
    await chosen.close()
    assert inner.calls == ["finish", "close"]


async def test_a_class_is_chosen_by_its_name_and_a_dict_as_such() -> None:
    entry = OutboxEntry(0, "1-0", (b'{"n":1}', b'{"n":2}', b'{"n":3}'), spider="shop", kinds=("Book", "", "Author"))
    for kinds, found in (("shop.items.Book",), [b'{"n":1}']), (("Author", "dict"), [b'{"n":2}', b'{"n":3}']):
        inner = Taking()
        await Chosen(inner, Target("a", kinds=kinds)).write([entry])
        assert inner.items == found
