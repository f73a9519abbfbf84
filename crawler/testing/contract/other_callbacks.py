"""The first request for a URL wins. A later one that names another callback is counted and reported."""

from __future__ import annotations

import itertools

import pytest

from crawler.model import Done, Request
from crawler.testing.contract.world import Crawl, World, hosts, pages

URL = "http://a.example/pot"
DETAIL = Request(URL, callback="detail")


async def told(crawl: Crawl) -> int:
    """The number of requests that named another callback."""
    return await crawl.counter("links/other_callback")


async def examples(crawl: Crawl) -> dict[str, str]:
    """Callback → URL."""
    return dict((await crawl.frontier.reading.stats(crawl.job)).other_callbacks)


@pytest.mark.parametrize("seed", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(["parse", "detail", "review"])))
async def test_each_other_callback_of_a_url_is_told_once_whoever_was_first(
    crawl: Crawl, order: tuple[str, ...], seed: bool
) -> None:
    first, *others = order
    for callback in (first, *others, *others, first):
        await crawl.add(Request(URL, callback=callback), seed=seed)
    assert (await told(crawl), await examples(crawl)) == (2, dict.fromkeys(others, URL))
    assert [lease.request.callback for lease in (await crawl.claim()).leases] == [first]
    assert (await crawl.frontier.reading.stats(crawl.job)).known == 1


async def test_the_same_callback_again_is_only_known(crawl: Crawl) -> None:
    for _ in range(2):
        await crawl.add(URL, seed=False)
        await crawl.add(Request("http://a.example/2", callback="detail"), seed=False)
    assert (await told(crawl), await examples(crawl)) == (0, {})


async def test_in_one_call_the_first_wins(crawl: Crawl) -> None:
    assert await crawl.add(Request(URL), DETAIL, Request(URL), DETAIL, seed=False) == 1
    assert (await told(crawl), (await crawl.lease()).request.callback) == (1, "parse")


async def test_a_url_that_another_callback_has_is_known_in_a_call_that_brings_the_next_such_url(crawl: Crawl) -> None:
    await crawl.add(DETAIL)
    assert await crawl.add(Request(f"{URL}/2", callback="detail"), URL) == 1
    assert await told(crawl) == 1


async def test_requests_keep_their_order_whatever_they_name(crawl: Crawl) -> None:
    made = [Request(url, callback="detail" if n % 2 else "parse") for n, url in enumerate(pages(6))]
    await crawl.add(*made)
    assert await crawl.urls() == pages(6)


async def test_all_clients_know_of_the_same_ones(world: World, crawl: Crawl) -> None:
    """A process remembers a known URL for one callback only."""
    other = await world.client()
    await crawl.add(URL, seed=False)
    await crawl.add(URL, seed=False)
    await crawl.add(DETAIL, seed=False)
    await other.adding.add(crawl.job, [DETAIL])
    await other.adding.add(crawl.job, [Request(URL)])
    assert await told(crawl) == 1


async def test_what_is_left_out_before_it_is_sent_was_told(crawl: Crawl) -> None:
    await crawl.add(URL, seed=False)
    assert list(crawl.frontier.links.maybe_new(crawl.job, [DETAIL])) == [DETAIL]
    await crawl.add(*crawl.frontier.links.maybe_new(crawl.job, [DETAIL]), seed=False)
    await crawl.add(*crawl.frontier.links.maybe_new(crawl.job, [DETAIL]), seed=False)
    assert await told(crawl) == 1


async def test_requests_that_are_fetched_though_known_are_none(crawl: Crawl) -> None:
    again = [Request(URL, callback=callback, dont_filter=True) for callback in ("parse", "detail")]
    assert await crawl.add(URL, *again, DETAIL) == 3
    assert await told(crawl) == 1


async def test_other_methods_and_bodies_are_other_requests(crawl: Crawl) -> None:
    forms = [Request(URL, callback="results", method="POST", body=body) for body in (b"q=1", b"q=2")]
    assert await crawl.add(URL, *forms) == 3
    assert await told(crawl) == 0
    await crawl.add(Request(URL, method="POST", body=b"q=1"))
    assert (await told(crawl), await examples(crawl)) == (1, {"parse": URL})


async def test_a_url_that_is_done_tells_which_other_callbacks_wanted_it(crawl: Crawl) -> None:
    await crawl.add(DETAIL, "http://a.example/other")
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Done())
    await crawl.add(URL, Request(URL, callback="review"))
    found = await crawl.frontier.traces.trace(crawl.job, URL)
    assert (found.known, found.skipped, sorted(found.other_callbacks)) == (True, None, ["parse", "review"])
    assert (await crawl.frontier.traces.trace(crawl.job, "http://a.example/other")).other_callbacks == ()


async def test_thousands_of_both_kinds_on_all_shards(world: World, crawl: Crawl) -> None:
    """The seen-set is split many times, and each member stays in its bucket."""
    urls = pages(2_000) + hosts(100)
    details = [Request(url, callback="detail") for url in urls[::2]]
    plain = [Request(url) for url in urls[1::2]]
    assert await crawl.add(*details, *plain, seed=False) == len(urls)
    assert all([(await crawl.frontier.traces.trace(crawl.job, url)).known for url in urls[::97]])
    assert not (await crawl.frontier.traces.trace(crawl.job, f"{URL}/none")).known
    assert await crawl.add(*[Request(one.url) for one in details], seed=True) == 0
    assert await crawl.add(*[Request(one.url, callback="detail") for one in plain], seed=True) == 0
    assert await crawl.add(*details, *plain, seed=True) == 0
    assert await told(crawl) == len(urls)
    await world.check()
