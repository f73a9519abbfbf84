"""All that a job's shared state tells of one URL, wherever its request is."""

from __future__ import annotations

import pytest

from crawler.interfaces import Pace
from crawler.model import Done, Exported, Release, Request, Retry, Skip
from crawler.status import Sighting, Trace
from crawler.testing.contract.world import Crawl, dead, failed, hosts, pages

URL = "http://a.example/"


async def trace(crawl: Crawl, url: str = URL) -> Trace:
    return await crawl.frontier.traces.trace(crawl.job, url)


async def only(crawl: Crawl, url: str = URL) -> Sighting:
    """The URL's only sighting."""
    found = await trace(crawl, url)
    assert found.known
    (sighting,) = found.sightings
    return sighting


async def test_an_unknown_url(crawl: Crawl) -> None:
    await crawl.add("http://a.example/other")
    found = await trace(crawl)
    assert (found.known, found.sightings, found.skipped, found.host) == (False, (), None, "a.example")


async def test_each_of_thousands_is_known_and_no_other(crawl: Crawl) -> None:
    """By then the buckets of the seen-set have been split many times."""
    await crawl.add(*pages(3000), *hosts(50))
    assert all([(await trace(crawl, url)).known for url in [*pages(3000)[::97], *hosts(50)]])
    assert not any([(await trace(crawl, f"{url}x")).known for url in pages(3000)[::97]])


async def test_a_pending_one_tells_how_many_are_before_it(crawl: Crawl) -> None:
    await crawl.add(*pages(1500), *hosts(3))
    await crawl.add(Request("http://a.example/first", priority=5, depth=2, spider="shop"))
    assert (await only(crawl, "http://a.example/first")).ahead == 0
    last = await only(crawl, "http://a.example/1499")
    assert (last.state, last.ahead) == ("pending", 1500)
    assert (await only(crawl, "http://a.example/first")).request == Request(
        "http://a.example/first", priority=5, depth=2, spider="shop"
    )


async def test_spellings_that_are_the_same_url_are_found(crawl: Crawl) -> None:
    await crawl.add("http://a.example/?b=1&a=%7E")
    assert (await only(crawl, "http://a.example/?a=~&b=1")).request.url == "http://a.example/?b=1&a=%7E"


async def test_a_delayed_one_tells_when_it_is_due(crawl: Crawl) -> None:
    await crawl.add(Request(URL, delay=60.0))
    found = await only(crawl)
    assert found.state == "delayed"
    assert 50 < found.due <= 60


async def test_one_in_processing_tells_who_holds_it(crawl: Crawl) -> None:
    await crawl.add(URL)
    await crawl.end(await crawl.lease(), Release("drain"))
    await crawl.end(await crawl.lease(), Retry(failed(), 0.0))
    await crawl.lease(worker="w7")
    found = await only(crawl)
    assert (found.state, found.worker, found.attempt, found.delivery) == ("processing", "w7", 1, 2)
    assert (await trace(crawl)).turn.inflight == 1


async def test_a_dead_one_brings_its_letter(crawl: Crawl) -> None:
    await crawl.add(URL, "http://a.example/other")
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, dead("http_503"))
    found = await only(crawl)
    assert found.state == "dead"
    assert found.letter is not None
    assert (found.letter.url, found.letter.failure.kind) == (URL, "http_503")
    await crawl.frontier.letters.redrive(crawl.job, [found.letter.id])
    assert (await only(crawl)).state == "pending"


async def test_a_fetched_one_is_known_and_nowhere(crawl: Crawl) -> None:
    await crawl.add(URL)
    await crawl.end(await crawl.lease(), Done())
    found = await trace(crawl)
    assert (found.known, found.sightings, found.skipped) == (True, (), None)


async def test_a_skipped_one_tells_why(crawl: Crawl) -> None:
    await crawl.add(URL, "http://a.example/secret")
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Skip("robots", "line 3: Disallow: /secret \N{SNOWMAN}\nx"))
    found = await trace(crawl, "http://a.example/secret")
    assert found.skipped is not None
    assert found.skipped.url == "http://a.example/secret"
    assert (found.skipped.reason, found.skipped.detail) == ("robots", "line 3: Disallow: /secret \N{SNOWMAN}\nx")
    assert await crawl.counter("skip/robots") == 2


async def test_what_was_redirected_there_is_told(crawl: Crawl) -> None:
    await crawl.add("http://a.example/old")
    target = Request("http://a.example/new", redirects=1)
    await crawl.end(await crawl.lease(), Skip("redirect", target.url), links=(target,), status=301)
    assert (await trace(crawl, "http://a.example/new")).redirected_from == "http://a.example/old"
    assert (await trace(crawl, "http://a.example/old")).redirected_from == ""


@pytest.mark.parametrize(
    ("what", "name"), [("job", "news"), ("host", "a.example"), ("spider", "shop")], ids=lambda text: text
)
async def test_the_pauses_that_concern_it_are_told_and_no_others(crawl: Crawl, what: str, name: str) -> None:
    await crawl.add(Request(URL, spider="shop"))
    await crawl.frontier.pauses.pause(crawl.job, "host", "b.example", "not ours")
    await crawl.frontier.pauses.pause(crawl.job, what, name, "on Sundays")
    assert [(pause.what, pause.name, pause.why) for pause in (await trace(crawl)).pauses] == [
        (what, name, "on Sundays")
    ]


async def test_the_hosts_turn_is_told(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    assert (await trace(crawl)).turn.wait == 0
    await crawl.end(
        await crawl.lease(pace=Pace(delay=30.0)), host_delay=40.0, asked_at=crawl.world.now(), pace=Pace(delay=30.0)
    )
    turn = (await trace(crawl, "http://a.example/1")).turn
    assert 30 < turn.wait <= 40
    assert (turn.inflight, turn.delay) == (0, 40.0)
    assert (await trace(crawl, "http://b.example/")).turn.wait == 0


async def test_the_turn_of_the_group_its_host_is_in_is_told(crawl: Crawl) -> None:
    await crawl.add(URL)
    assert (await trace(crawl)).turn.group == ""
    await crawl.frontier.ledger.join("a.example", "192.0.2.1")
    await crawl.lease(pace=Pace(delay=30.0))
    found = await trace(crawl)
    assert found.turn.group == "192.0.2.1"
    assert 20 < found.group_turn.wait <= 30
    assert found.group_turn.inflight == 1


async def test_whether_its_host_was_seeded(crawl: Crawl) -> None:
    await crawl.add(URL)
    await crawl.add("http://b.example/", seed=False)
    assert [(await trace(crawl, url)).seeded for url in (URL, "http://b.example/")] == [True, False]


@pytest.mark.parametrize("kind", ["dns", "timeout"])
async def test_a_request_without_an_answer_is_counted_by_the_kind_of_its_error(crawl: Crawl, kind: str) -> None:
    await crawl.add(URL)
    now = crawl.world.now()
    await crawl.end(await crawl.lease(), Retry(failed(kind), 0.0), asked_at=now)
    await crawl.end(await crawl.lease(), Retry(failed("http_503"), 0.0), asked_at=now, status=503)
    await crawl.end(await crawl.lease(), dead(kind), asked_at=now)
    assert await crawl.counter(f"error/{kind}") == 2
    assert await crawl.counter("error/http_503") == 0


async def test_a_page_that_was_read_lately_tells_how(crawl: Crawl) -> None:
    urls = pages(3)
    await crawl.add(*urls)
    links = (Request("http://a.example/x", depth=1),)
    for lease in (await crawl.claim(3, worker="w7")).leases:
        await crawl.end(lease, worker="w7", status=203, size=12, items=(b"{}", b"{}"), links=links)
    read = (await crawl.frontier.traces.trace(crawl.job, urls[1])).read
    assert read is not None
    assert (read.worker, read.status, read.size, read.items, read.links) == ("w7", 203, 12, 2, 1)
    assert read.when > 0
    assert (await crawl.frontier.traces.trace(crawl.job, "http://a.example/x")).read is None


async def test_a_page_that_was_read_tells_whether_its_items_are_exported(crawl: Crawl) -> None:
    async def exported(url: str) -> bool:
        read = (await crawl.frontier.traces.trace(crawl.job, url)).read
        assert read is not None
        return read.exported

    with_items, first, without, second = pages(4)
    await crawl.add(with_items, first, without, second)
    for lease in (await crawl.claim(4)).leases:
        await crawl.end(lease, items=() if lease.request.url == without else (b"{}",))
    assert [await exported(url) for url in (with_items, without)] == [False, True]
    entries = await crawl.outbox.read(crawl.job, {}, 100)
    await crawl.outbox.acknowledge(crawl.job, Exported({entries[1].shard: entries[1].position}))
    assert [await exported(url) for url in (with_items, first, without, second)] == [True, True, True, False]
