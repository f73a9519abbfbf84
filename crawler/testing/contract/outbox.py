"""Items between a page's commit and the sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crawler.model import (
    Dead,
    DeadItem,
    Done,
    Exported,
    Job,
    OutboxEntry,
    Outcome,
    Release,
    Request,
    Retry,
    Skip,
    Visit,
)
from crawler.testing.contract.world import AT_ONCE, Crawl, World, failed, hosts, pages


async def test_items_of_a_page_are_one_entry_unchanged(crawl: Crawl) -> None:
    items = ('{"a":"ü \U0001f980"}'.encode(), b'{"b":"\\n \\u0000"}')
    await _commit(crawl, pages(1), *items)
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert entry.items == items


async def test_an_entry_names_its_page_and_the_spider_that_read_it(crawl: Crawl) -> None:
    await _commit(crawl, [Request("http://a.example/?a\\b", spider="sh\\op")], b"{}")
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert (entry.url, entry.spider) == ("http://a.example/?a\\b", "sh\\op")


async def test_an_entry_tells_the_class_of_each_item(crawl: Crawl) -> None:
    await _commit(crawl, pages(1), b'{"a":1}', b"{}", item_kinds=("Book", ""))
    await _commit(crawl, ["http://a.example/one"], b"{}", item_kinds=("Book",))
    await _commit(crawl, ["http://a.example/dicts"], b"{}", b"{}")
    typed, one, dicts = await crawl.outbox.read(crawl.job, {}, 10)
    assert (typed.kinds, one.kinds, dicts.kinds) == (("Book", ""), ("Book",), ())
    assert [typed.kind(number) for number, _ in typed.numbered()] == ["Book", ""]
    assert [dicts.kind(number) for number, _ in dicts.numbered()] == ["", ""]


async def test_of_items_that_are_left_out_no_class_stays(crawl: Crawl) -> None:
    keys, kinds = ("k1", "k1", "k2"), ("Book", "Offer", "")
    await _commit(crawl, pages(1), b'{"a":1}', b'{"a":2}', b'{"a":3}', item_keys=keys, item_kinds=kinds)
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert (entry.items, entry.kinds) == ((b'{"a":1}', b'{"a":3}'), ("Book", ""))


async def test_each_page_of_a_commit_has_its_own_items(crawl: Crawl) -> None:
    await crawl.add(*pages(3))
    leases = (await crawl.claim()).leases
    items = [(b'{"number":%d}' % number,) for number in range(3)]
    visits = [(lease, Visit(Done(), items=its)) for lease, its in zip(leases, items, strict=True)]
    assert all(await crawl.frontier.queue.commit("w1", visits, AT_ONCE))
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    assert [(entry.url, entry.items) for entry in entries] == list(zip(pages(3), items, strict=True))


async def test_a_page_without_items_leaves_no_entry(crawl: Crawl) -> None:
    await _commit(crawl, hosts(3))
    assert await crawl.outbox.read(crawl.job, {}, 10) == []
    assert (await crawl.frontier.reading.stats(crawl.job)).outbox == 0


async def test_of_items_with_one_key_the_first_is_kept_and_the_others_are_counted(crawl: Crawl) -> None:
    """Exact for the pages of one host, which lie in one shard."""
    await crawl.add(*pages(3))
    first, second, third = (await crawl.claim(3)).leases
    assert await crawl.end(first, items=(b'{"a":1}', b'{"a":2}', b'{"a":1}'), item_keys=("k1", "k2", "k1"))
    assert await crawl.end(second, items=(b'{"a":2}', b'{"b":2}', b'{"b":2}'), item_keys=("k2", "", ""))
    assert await crawl.end(third, items=(b'{"a":1}',), item_keys=("k1",))
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    assert [entry.items for entry in entries] == [(b'{"a":1}', b'{"a":2}'), (b'{"b":2}', b'{"b":2}')]
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.counters["items"], stats.counters["dropped/duplicate_item"]) == (4, 3)
    assert stats.outbox == 2, "of a page without new items there is no entry"


async def test_a_page_that_is_not_committed_leaves_no_key_behind(crawl: Crawl) -> None:
    """A refused commit, and one of a page that will be visited again: its items come later."""
    await crawl.add(*pages(1))
    lease = await crawl.lease()
    await crawl.end(lease, Retry(failed(), 0.0), items=(b'{"a":1}',), item_keys=("k1",))
    assert not await crawl.end(lease, items=(b'{"a":1}',), item_keys=("k1",))
    assert await crawl.end(await crawl.lease(), items=(b'{"a":1}',), item_keys=("k1",))
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert entry.items == (b'{"a":1}',)


async def test_keys_belong_to_one_job_and_go_with_it(world: World, crawl: Crawl) -> None:
    async def has(its: Crawl) -> int:
        await its.add("http://a.example/")
        await its.end(await its.lease(), items=(b"{}",), item_keys=("k1",))
        return len(await its.outbox.read(its.job, {}, 10))

    assert await has(crawl) == await has(await Crawl.create(world, Job("other"))) == 1
    await crawl.frontier.jobs.delete(crawl.job.name)
    assert await has(await Crawl.create(world, Job(crawl.job.name))) == 1


@pytest.mark.parametrize("outcome", [Done(), Dead(failed()), Skip("redirect")])
@pytest.mark.parametrize("items", [(), (b"{}",)])
async def test_the_line_of_a_page_in_an_archive_is_in_its_entry(
    crawl: Crawl, outcome: Outcome, items: tuple[bytes, ...]
) -> None:
    """Also if the page has no items: then the entry has none."""
    await crawl.add("http://a.example/")
    assert await crawl.end(await crawl.lease(), outcome, items=items, archived='example,a)/ {"ü":"x"}')
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert (entry.items, entry.archived, entry.url) == (items, 'example,a)/ {"ü":"x"}', "http://a.example/")
    assert await crawl.counter("items") == len(items)


@pytest.mark.parametrize("outcome", [Retry(failed(), 0.0), Release("shutdown")])
async def test_a_page_that_will_be_visited_again_leaves_no_line(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), outcome, archived="example,a)/ {}")
    assert await crawl.outbox.read(crawl.job, {}, 10) == []


@pytest.mark.parametrize("outcome", [Retry(failed(), 0.0), Release("shutdown")])
async def test_a_page_that_will_be_visited_again_leaves_no_entry(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), outcome, items=(b"{}",))
    assert await crawl.outbox.read(crawl.job, {}, 10) == []


async def test_values_that_a_sink_has_left_out_are_counted_once(crawl: Crawl) -> None:
    await _commit(crawl, pages(1), b"{}")
    for values in (2, 2, 5):
        sinks = {"a.csv": Exported(values_left_out=values), "b.csv": Exported(values_left_out=1), "c.jsonl": Exported()}
        await crawl.outbox.acknowledge(crawl.job, Exported(), sinks)
    assert await crawl.outbox.sinks(crawl.job) == sinks
    counters = (await crawl.frontier.reading.stats(crawl.job)).counters
    told = {name: count for name, count in counters.items() if name.startswith("values_left_out/")}
    assert told == {"values_left_out/a.csv": 5, "values_left_out/b.csv": 1}


@pytest.mark.parametrize("outcome", [Dead(failed()), Skip("ignored")])
async def test_a_page_that_was_given_up_keeps_the_items_of_its_errback(crawl: Crawl, outcome: Outcome) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), outcome, items=(b"{}",))
    (entry,) = await crawl.outbox.read(crawl.job, {}, 10)
    assert entry.items == (b"{}",)


async def test_the_outbox_is_counted_in_pages(crawl: Crawl) -> None:
    await _commit(crawl, hosts(4), b"{}", b"{}")
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.outbox, stats.counters["items"]) == (4, 8)


async def test_positions_grow_within_a_shard(crawl: Crawl) -> None:
    await _commit(crawl, pages(40), b"{}")
    entries = await crawl.outbox.read(crawl.job, {}, 100)
    assert len({entry.position for entry in entries}) == 40
    for at, entry in enumerate(entries):
        assert await crawl.outbox.read(crawl.job, {entry.shard: entry.position}, 100) == entries[at + 1 :]


async def test_reading_removes_nothing(crawl: Crawl) -> None:
    await _commit(crawl, hosts(10), b"{}")
    once = await crawl.outbox.read(crawl.job, {}, 100)
    assert await crawl.outbox.read(crawl.job, {}, 100) == once
    assert len(once) == 10


async def test_at_most_the_limit_a_shard(world: World, crawl: Crawl) -> None:
    await _commit(crawl, hosts(40), b"{}")
    entries = await crawl.outbox.read(crawl.job, {}, 3)
    assert len(entries) == 3 * world.shards
    assert {entry.shard for entry in entries} == set(range(world.shards))


async def test_reading_on_behind_the_positions_finds_each_entry_once(crawl: Crawl) -> None:
    urls = hosts(40)
    await crawl.add(*urls)
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, items=(b'{"url":"%b"}' % lease.request.url.encode(),))
    found: list[OutboxEntry] = []
    positions: dict[int, str] = {}
    while entries := await crawl.outbox.read(crawl.job, positions, 3):
        found += entries
        positions |= {entry.shard: entry.position for entry in entries}
    assert sorted(entry.items[0].decode().split('"')[3] for entry in found) == sorted(urls)


async def test_acknowledged_entries_are_gone_and_no_others(crawl: Crawl) -> None:
    await _commit(crawl, hosts(40), b"{}")
    first = await crawl.outbox.read(crawl.job, {}, 2)
    positions = {entry.shard: entry.position for entry in first}
    await crawl.outbox.acknowledge(crawl.job, Exported(positions))
    rest = await crawl.outbox.read(crawl.job, {}, 100)
    assert len(rest) == 40 - len(first)
    assert not {(entry.shard, entry.position) for entry in first} & {(e.shard, e.position) for e in rest}
    assert await crawl.outbox.read(crawl.job, positions, 100) == rest
    assert (await crawl.frontier.reading.stats(crawl.job)).outbox == len(rest)


async def test_acknowledging_again_or_older_changes_nothing(crawl: Crawl) -> None:
    await _commit(crawl, pages(4), b"{}")
    entries = await crawl.outbox.read(crawl.job, {}, 100)
    for at in (1, 1, 0):
        await crawl.outbox.acknowledge(crawl.job, Exported({entries[at].shard: entries[at].position}))
    assert await crawl.outbox.read(crawl.job, {}, 100) == entries[2:]


async def test_what_was_acknowledged_last_is_known_to_the_next_exporter(world: World, crawl: Crawl) -> None:
    assert await crawl.outbox.exported(crawl.job) == Exported()
    await _commit(crawl, hosts(40), b"{}")
    positions = {entry.shard: entry.position for entry in await crawl.outbox.read(crawl.job, {}, 2)}
    await crawl.outbox.acknowledge(crawl.job, Exported(positions, "/data/items.jsonl", 7))
    other = await world.client()
    assert await other.outbox.exported(crawl.job) == Exported(positions, "/data/items.jsonl", 7)
    await crawl.frontier.jobs.delete(crawl.job.name)
    again = await crawl.frontier.jobs.create(Job(crawl.job.name))
    assert await crawl.outbox.exported(again) == Exported()


async def test_what_each_sink_has_is_known_to_the_next_exporter(world: World, crawl: Crawl) -> None:
    assert await crawl.outbox.sinks(crawl.job) == {}
    await _commit(crawl, hosts(40), b"{}")
    least = {entry.shard: entry.position for entry in await crawl.outbox.read(crawl.job, {}, 1)}
    more = {entry.shard: entry.position for entry in await crawl.outbox.read(crawl.job, {}, 2)}
    sinks = {"/data/items.jsonl": Exported(least, "/data/items.jsonl.part", 7), "db": Exported(more, "db")}
    await crawl.outbox.acknowledge(crawl.job, Exported(least, "/data/items.jsonl.part", 7), sinks)
    other = await world.client()
    assert await other.outbox.sinks(crawl.job) == sinks
    left = await other.outbox.read(crawl.job, {}, 100)
    assert len(left) == 40 - len(least), "what one of them lacks stays"
    await crawl.outbox.acknowledge(crawl.job, Exported(least), {"db": Exported(more, "db")})
    assert await other.outbox.sinks(crawl.job) == {"db": Exported(more, "db")}
    await crawl.frontier.jobs.delete(crawl.job.name)
    assert await crawl.outbox.sinks(await crawl.frontier.jobs.create(Job(crawl.job.name))) == {}


async def test_how_many_pages_wait_behind_positions(crawl: Crawl) -> None:
    assert await crawl.outbox.waiting(crawl.job, {}) == 0
    await _commit(crawl, hosts(40), b"{}")
    positions: dict[int, str] = {}
    left = 40
    while entries := await crawl.outbox.read(crawl.job, positions, 2):
        assert await crawl.outbox.waiting(crawl.job, positions) == left
        positions |= {entry.shard: entry.position for entry in entries}
        left -= len(entries)
        if left < 20:
            await crawl.outbox.acknowledge(crawl.job, Exported(positions))
    assert await crawl.outbox.waiting(crawl.job, positions) == left == 0
    await _commit(crawl, hosts(50), b"{}")
    assert await crawl.outbox.waiting(crawl.job, positions) == 10


async def test_what_one_sink_has_and_another_lacks_stays_when_an_exporter_connects_again(
    world: World, crawl: Crawl
) -> None:
    """The server is told what a sink has; it must not take that for what all have."""
    await _commit(crawl, pages(4), b"{}")
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    shard = entries[0].shard
    one, two = ({shard: entries[at].position} for at in (0, 2))
    sinks = {"a": Exported(one, "a"), "b": Exported(two, "b")}
    await crawl.outbox.acknowledge(crawl.job, Exported(one), sinks)
    for positions in (two, one):
        other = await world.client()
        await other.outbox.acknowledge(crawl.job, Exported(one), sinks)
        assert await other.outbox.read(crawl.job, positions, 10) == entries[3 if positions is two else 1 :]
    assert await crawl.outbox.read(crawl.job, {}, 10) == entries[1:]


async def test_positions_grow_also_after_everything_was_acknowledged(crawl: Crawl) -> None:
    await _commit(crawl, pages(2), b"{}")
    last = (await crawl.outbox.read(crawl.job, {}, 100))[-1]
    await crawl.outbox.acknowledge(crawl.job, Exported({last.shard: last.position}))
    assert await crawl.outbox.read(crawl.job, {}, 100) == []
    await _commit(crawl, ["http://a.example/more"], b"{}")
    assert len(await crawl.outbox.read(crawl.job, {last.shard: last.position}, 100)) == 1


async def test_a_position_that_is_gone_can_still_be_read_behind(crawl: Crawl) -> None:
    """After a crash between the sink's write and the acknowledgement, or after it."""
    await _commit(crawl, pages(3), b"{}")
    entries = await crawl.outbox.read(crawl.job, {}, 100)
    shard = entries[0].shard
    await crawl.outbox.acknowledge(crawl.job, Exported({shard: entries[1].position}))
    assert await crawl.outbox.read(crawl.job, {shard: entries[0].position}, 100) == entries[2:]


async def test_one_exporter_at_a_time(world: World, crawl: Crawl) -> None:
    assert await crawl.outbox.hold(crawl.job, "e1", 60.0) == "e1"
    assert await crawl.outbox.hold(crawl.job, "e2", 60.0) == "e1"
    assert await crawl.outbox.hold(crawl.job, "e1", 60.0) == "e1"


async def test_an_exporter_can_give_it_up(crawl: Crawl) -> None:
    await crawl.outbox.hold(crawl.job, "e1", 60.0)
    await crawl.outbox.hold(crawl.job, "e2", 0.0)
    assert await crawl.outbox.hold(crawl.job, "e3", 60.0) == "e1", "only the holder can"
    await crawl.outbox.hold(crawl.job, "e1", 0.0)
    assert await crawl.outbox.hold(crawl.job, "e2", 60.0) == "e2"


async def test_a_silent_exporter_is_replaced(world: World, crawl: Crawl) -> None:
    await crawl.outbox.hold(crawl.job, "e1", 0.05)
    await world.pass_time(0.06)
    assert await crawl.outbox.hold(crawl.job, "e2", 60.0) == "e2"
    assert await crawl.outbox.hold(crawl.job, "e1", 60.0) == "e2"


async def test_holding_again_extends_the_time(world: World, crawl: Crawl) -> None:
    await crawl.outbox.hold(crawl.job, "e1", 0.05)
    await crawl.outbox.hold(crawl.job, "e1", 60.0)
    await world.pass_time(0.06)
    assert await crawl.outbox.hold(crawl.job, "e2", 60.0) == "e1"


async def test_an_item_that_a_sink_cannot_store_is_kept_once_and_goes_with_its_job(world: World, crawl: Crawl) -> None:
    item = DeadItem("0:1-1:0:x", "/data/b.db", "price is a list", '{"price":[]}', "http://a.example/", "shop", "Offer")
    other = DeadItem("0:1-2:0:x", "/data/b.db", "price is a text", '{"price":"1"}')
    for _ in range(2):
        await crawl.outbox.keep_dead(crawl.job, [item])
    await crawl.outbox.keep_dead(crawl.job, [other])
    client = await world.client()
    found = sorted([one async for one in client.dead_items.each(crawl.job)], key=lambda one: one.id)
    assert found == [item, other]
    assert [one async for one in client.dead_items.each(crawl.job, [other.id, "unknown"])] == [other]
    assert (await crawl.frontier.reading.stats(crawl.job)).dead_items == 2
    await crawl.frontier.jobs.delete(crawl.job.name)
    again = await crawl.frontier.jobs.create(Job(crawl.job.name))
    assert [one async for one in crawl.frontier.dead_items.each(again)] == []


async def test_a_redriven_item_is_in_the_outbox_for_the_sink_that_lacks_it(crawl: Crawl) -> None:
    about = ("http://a.example/?\\", 'sh"op', "Offer")
    items = [DeadItem(f"0:1-{n}:0:x", "/data/ü.db", "why", f'{{"n":{n}}}', *about) for n in range(3)]
    await crawl.outbox.keep_dead(crawl.job, items)
    assert await crawl.frontier.dead_items.drop(crawl.job, [items[2].id]) == 1
    assert await crawl.frontier.dead_items.redrive(crawl.job, [items[0].id]) == 1
    assert await crawl.frontier.dead_items.redrive(crawl.job, [items[0].id]) == 0
    assert await crawl.frontier.dead_items.redrive(crawl.job) == 1
    assert await crawl.frontier.dead_items.redrive(crawl.job) == await crawl.frontier.dead_items.drop(crawl.job) == 0
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    assert [entry.items for entry in entries] == [(b'{"n":0}',), (b'{"n":1}',)]
    assert {(one.url, one.spider, *one.kinds, one.only_for) for one in entries} == {(*about, "/data/ü.db")}
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.outbox, stats.dead_items) == (2, 0)


async def test_stats_say_how_many_pages_wait_for_each_output(crawl: Crawl) -> None:
    await _commit(crawl, pages(4), b"{}")
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    one, two = ({entries[0].shard: entries[at].position} for at in (0, 2))
    await crawl.outbox.acknowledge(crawl.job, Exported(one), {"a": Exported(one, "a"), "b": Exported(two, "b")})
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert [(its.output, its.pages) for its in stats.outputs] == [("a", 3), ("b", 1)]
    await crawl.outbox.acknowledge(crawl.job, Exported(one), {"a": Exported(one, "a")})
    assert [its.pages for its in (await crawl.frontier.reading.stats(crawl.job)).outputs] == [3]


async def _commit(crawl: Crawl, urls: Sequence[str | Request], *items: bytes, **more: Any) -> None:
    await crawl.add(*urls)
    for lease in (await crawl.claim()).leases:
        assert await crawl.end(lease, items=items, **more)
