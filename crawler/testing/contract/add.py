"""(unknown) → pending: which requests are admitted, that each is admitted once, and that it comes out unchanged."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from crawler.errors import FrontierError
from crawler.frontier.message import check
from crawler.model import Failure, Job, Request, Retry
from crawler.testing.contract.world import AT_ONCE, Crawl, World, failed, hosts, pages


async def test_adding_twice_is_adding_once(crawl: Crawl) -> None:
    assert await crawl.add(*pages(3)) == 3
    assert await crawl.add(*pages(4)) == 1
    assert await crawl.counts() == (4, 0, 0, 0)


async def test_known_ones_are_counted(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    added = await crawl.frontier.adding.add(crawl.job, [Request(url) for url in pages(5)])
    assert (added.new, added.known) == (3, 2)


async def test_one_call_with_a_url_twice_admits_it_once(crawl: Crawl) -> None:
    assert await crawl.add("http://a.example/", "http://a.example/") == 1


async def test_one_call_with_very_many_is_taken(crawl: Crawl) -> None:
    """The first page of a job may have that many links: the seen-set grows from one bucket in one step."""
    urls = pages(20_000)
    assert await crawl.add(*urls, seed=False) == 20_000
    assert await crawl.add(*urls, seed=True) == 0


async def test_a_url_stays_known_when_a_call_has_made_room_for_more_than_came(crawl: Crawl) -> None:
    """A thousand links lead to twenty pages: the seen-set has room for all, and finds each of them later."""
    urls = pages(20)
    assert await crawl.add(*urls * 50, seed=False) == 20
    assert [await crawl.add(url, seed=True) for url in urls] == [0] * 20


async def test_an_empty_add_changes_nothing(crawl: Crawl) -> None:
    assert await crawl.add() == 0
    assert await crawl.counts() == (0, 0, 0, 0)


async def test_spellings_that_servers_treat_alike_are_one_request(crawl: Crawl) -> None:
    assert await crawl.add("http://a.example/%7Eme?b=1&a=2", "http://a.example/~me?a=2&b=1") == 1


async def test_a_request_stays_known_after_it_was_done(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease())
    assert await crawl.add("http://a.example/", seed=False) == 0


async def test_a_seed_is_admitted_even_if_a_link_led_to_it_before(crawl: Crawl) -> None:
    """… once: what counts is the request, not who names it."""
    assert await crawl.add("http://a.example/", seed=False) == 1
    assert await crawl.add("http://a.example/", seed=True) == 0


async def test_concurrent_adds_of_the_same_urls_admit_each_once(world: World, crawl: Crawl) -> None:
    clients = [await world.client() for _ in range(4)]
    requests = [Request(url) for url in hosts(50)]
    added = await asyncio.gather(*(client.adding.add(crawl.job, requests) for client in clients))
    assert sum(result.new for result in added) == 50
    assert await crawl.counts() == (50, 0, 0, 0)


async def test_dont_filter_is_always_new(crawl: Crawl) -> None:
    request = Request("http://a.example/", dont_filter=True)
    assert await crawl.add(request, request) == 2
    assert await crawl.add(request) == 1
    assert len((await crawl.claim()).leases) == 3


async def test_a_dont_filter_link_is_new_once_for_its_page(crawl: Crawl) -> None:
    """After a crash a page may be visited again; its `dont_filter` links are then not added twice."""
    await crawl.add("http://a.example/", "http://b.example/")
    links = (Request("http://c.example/", dont_filter=True),) * 2
    for lease in (await crawl.claim(2)).leases:
        await crawl.end(lease, Retry(failed(), 0.0), links=links)
    assert (await crawl.frontier.reading.stats(crawl.job)).known == 2 + 2 * 2
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, links=links)
    again = await crawl.frontier.reading.stats(crawl.job)
    assert again.known - 6 == 4 * 2, "the links themselves are pages, and ask for two more each"


async def test_equal_dont_filter_requests_end_one_by_one(crawl: Crawl) -> None:
    await crawl.add(*[Request("http://a.example/", dont_filter=True)] * 3)
    leases = (await crawl.claim()).leases
    assert [await crawl.end(lease) for lease in leases] == [True] * 3
    assert await crawl.counts() == (0, 0, 3, 0)
    assert await crawl.finished()


async def test_equal_dont_filter_requests_can_all_wait(world: World, crawl: Crawl) -> None:
    """Each of several equal `dont_filter` requests counts as a request."""
    await crawl.add(*[Request("http://a.example/", dont_filter=True, delay=0.02)] * 2)
    assert (await crawl.frontier.reading.stats(crawl.job)).delayed == 2
    await world.pass_time(0.02)
    assert len((await crawl.claim()).leases) == 2


async def test_the_shortest_delay_is_a_millisecond(crawl: Crawl) -> None:
    await crawl.add(Request("http://a.example/", delay=0.001))
    assert (await crawl.frontier.reading.stats(crawl.job)).delayed == 1


async def test_method_and_body_tell_requests_apart(crawl: Crawl) -> None:
    url = "http://a.example/search"
    forms = [Request(url, method="POST", body=body) for body in (b"q=1", b"q=2", b"q=1")]
    assert await crawl.add(Request(url), *forms) == 3


async def test_method_and_body_tell_requests_apart_over_several_pages(crawl: Crawl) -> None:
    url = "http://a.example/search"
    for body in (b"", b"q=1", b"q=2"):
        method = "POST" if body else "GET"
        assert await crawl.add(Request(url, method=method, body=body), seed=False) == 1
        assert await crawl.add(Request(url, method=method, body=body), seed=False) == 0


async def test_links_to_hosts_of_all_shards_are_admitted(crawl: Crawl) -> None:
    assert await crawl.add(*hosts(100), seed=False) == 100
    assert sorted(await crawl.urls(200)) == sorted(hosts(100))


async def test_thousands_at_once(crawl: Crawl) -> None:
    assert await crawl.add(*pages(5_000), *hosts(500)) == 5_500
    assert await crawl.add(*pages(5_001), *hosts(501)) == 2
    assert (await crawl.counts())[0] == 5_502


async def test_two_jobs_do_not_know_each_others_requests(world: World, crawl: Crawl) -> None:
    other = await Crawl.create(world, Job("other"))
    assert await crawl.add("http://a.example/") == 1
    assert await other.add("http://a.example/") == 1


async def test_seeded_hosts_are_in_scope_and_found_ones_are_not(crawl: Crawl) -> None:
    await crawl.add("http://a.example/", "http://b.example:8080/x", seed=True)
    await crawl.add("http://c.example/", seed=False)
    asked = ["c.example", "a.example", "unknown.example", "b.example"]
    assert await crawl.frontier.links.in_scope(crawl.job, asked) == [False, True, False, True]


async def test_seeding_a_known_request_brings_its_host_into_scope(crawl: Crawl) -> None:
    await crawl.add("http://a.example/", seed=False)
    await crawl.add("http://a.example/", seed=True)
    assert await crawl.frontier.links.in_scope(crawl.job, ["a.example"]) == [True]


async def test_scope_of_no_host(crawl: Crawl) -> None:
    assert await crawl.frontier.links.in_scope(crawl.job, []) == []


FULL = Request(
    "http://a.example/path?q=%C3%A9&x=[1]|'\"".replace('"', "%22"),
    callback="parse_item",
    method="POST",
    headers={"x-token": 'ß"\\\t]', "accept": "*/*"},
    body=bytes(range(256)),
    meta={"text": '日本語 \U0001f980 " \\ \n \x00 ]', "list": [1, 2.5, None, True, {"a": []}], "[1,0": "]"},
    priority=-7,
    dont_filter=True,
    errback="failed",
    depth=12,
    spider="shop",
    redirects=3,
    cb_kwargs={"shop": {"id": 7, "tags": ["\u00e9", None]}},
)


@pytest.mark.parametrize(
    "request_",
    [
        FULL,
        Request("http://a.example/"),
        Request("http://a.example/\\back", spider="s"),
        Request("http://a.example/" + "x" * 8_000),
        Request("http://[::1]:8080/"),
        Request("http://a.example:8080/"),
        Request("http://xn--bcher-kva.example/"),
        Request("http://a.example/", meta={"big": "x" * 200_000}),
        Request("http://a.example/", spider='odd "name" \\ é'),
    ],
    ids=[
        "all-fields",
        "plain",
        "backslash",
        "long-url",
        "ipv6",
        "port",
        "punycode",
        "big-meta",
        "odd-spider",
    ],
)
async def test_every_field_survives_the_trip(crawl: Crawl, request_: Request) -> None:
    await crawl.add(request_)
    lease = await crawl.lease()
    assert lease.request == request_
    assert (lease.job, lease.attempt, lease.delivery) == ("news", 0, 0)
    assert await crawl.end(lease)


async def test_lone_surrogates_in_meta_do_no_harm(crawl: Crawl) -> None:
    """Real pages contain lone surrogates. They may be replaced on the way, but no request is lost or refused."""
    await crawl.add(check(Request("http://a.example/", meta={"title": "a \ud800 b"})))
    lease = await crawl.lease()
    title = lease.request.meta["title"]
    assert title.startswith("a ")
    assert title.endswith(" b")
    assert await crawl.end(lease)


@pytest.mark.parametrize("meta", [{"when": object()}, {"call": print}], ids=["object", "function"])
async def test_meta_that_is_no_json_is_refused_and_nothing_is_admitted(crawl: Crawl, meta: dict[str, object]) -> None:
    good = Request("http://a.example/good")
    with pytest.raises(TypeError):
        await crawl.add(good, replace(Request("http://a.example/bad"), meta=meta))
    assert await crawl.add(Request("http://a.example/bad"), good) == 2


async def test_a_request_too_big_to_travel_does_not_hang_the_crawl(crawl: Crawl) -> None:
    """`add` raises an error, or the request becomes a dead letter; it does not stay pending for ever."""
    try:
        await crawl.add(Request("http://a.example/", meta={"big": "x" * 1_500_000}))
    except (ValueError, TypeError):
        assert await crawl.counts() == (0, 0, 0, 0)
        return
    claim = await crawl.claim()
    for lease in claim.leases:
        await crawl.end(lease)
    for junk in claim.junk:
        assert await crawl.frontier.queue.bury("w1", crawl.job, junk.message, Failure("junk", "too big"))
    assert await crawl.finished()
    await crawl.counts()


async def test_a_seeder_of_a_deleted_job_is_told(crawl: Crawl) -> None:
    await crawl.frontier.jobs.delete(crawl.job.name)
    with pytest.raises(FrontierError, match="news"):
        await crawl.frontier.adding.add(crawl.job, [Request("http://a.example/")])
    assert (await crawl.frontier.queue.claim("w1", 1, [crawl.job], AT_ONCE)).gone == ("news",)
