"""Each page that redirects lead to is read once for each callback, by whatever way they lead there."""

from __future__ import annotations

import pytest

from crawler.model import Done, Lease, Release, Request, Skip
from crawler.testing.contract.world import Crawl, World

A, B = "http://a.example/pot", "http://b.example/kettle"


async def redirect(crawl: Crawl, lease: Lease, to: str) -> None:
    """Commit the lease as redirected."""
    await crawl.world.pass_time(0.002)  # the skips of two shards are told apart by their time
    request = lease.request
    target = Request(to, callback=request.callback, redirects=request.redirects + 1, depth=request.depth)
    assert await crawl.end(lease, Skip("redirect", to), links=(target,), status=302)


async def walk(crawl: Crawl, site: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Visit everything: each URL redirects as often as it has targets. Returns the URL and callback of each page that
    was read."""
    read = []
    site = {url: list(targets) for url, targets in site.items()}
    while claim := (await crawl.claim()).leases:
        for lease in claim:
            url = lease.request.url
            if site.get(url):
                await redirect(crawl, lease, site[url].pop(0))
            else:
                await crawl.end(lease, Done())
                read.append((url, lease.request.callback))
    assert await crawl.finished()
    return sorted(read)


@pytest.mark.parametrize("seed", [True, False])
@pytest.mark.parametrize(
    ("start", "site", "read"),
    [
        (A, {A: [A]}, A),
        (A, {A: [A, A, A]}, A),
        (A, {A: [B], B: [A]}, A),
        (A, {A: [B, B], B: [A, A]}, A),
        (f"{A}?b=2&a=1", {f"{A}?b=2&a=1": [f"{A}?a=1&b=2"]}, f"{A}?a=1&b=2"),
        (f"{A}?x=1&&y=2", {f"{A}?x=1&&y=2": [f"{A}?x=1&y=2"]}, f"{A}?x=1&y=2"),
        (f"{A}%3d", {f"{A}%3d": [f"{A}%3D"]}, f"{A}%3D"),
    ],
)
async def test_a_redirect_to_an_equivalent_url_or_back_leads_to_the_page(
    crawl: Crawl, start: str, site: dict[str, list[str]], read: str, seed: bool
) -> None:
    await crawl.add(Request(start, depth=0 if seed else 1), seed=seed)
    assert await walk(crawl, site) == [(read, "parse")]


async def test_of_two_known_ones_that_redirect_to_each_other_the_last_target_is_read(crawl: Crawl) -> None:
    await crawl.add(A, B)
    assert await walk(crawl, {A: [B], B: [A]}) in ([(A, "parse")], [(B, "parse")])


async def test_two_at_once_that_redirect_to_each_other_do_not_wait_for_each_other(crawl: Crawl) -> None:
    await crawl.add(A, B)
    for lease in (await crawl.claim()).leases:
        await redirect(crawl, lease, B if lease.request.url == A else A)
    assert {url for url, _ in await walk(crawl, {})} <= {A, B}
    assert await crawl.counter("pages") >= 1


async def test_many_redirects_to_a_page_that_is_read_or_will_be_read_add_nothing(crawl: Crawl) -> None:
    olds = [f"http://a.example/old/{number}" for number in range(9)]
    await crawl.add(A, *olds)
    assert await walk(crawl, {old: [A] for old in olds}) == [(A, "parse")]


async def test_many_redirects_to_one_that_was_redirected_itself_read_its_page_once(crawl: Crawl) -> None:
    olds = [f"http://a.example/old/{number}" for number in range(9)]
    await crawl.add(A)
    assert await walk(crawl, {A: [B]}) == [(B, "parse")]
    await crawl.add(*olds)
    assert await walk(crawl, {**{old: [A] for old in olds}, A: [B] * 9}) == []
    assert await crawl.counter("skip/redirect") == 1 + 9 + 1, "the first one was asked once again"


async def test_another_callback_reads_the_page_behind_its_redirect_once(crawl: Crawl) -> None:
    olds = [Request(f"http://a.example/old/{number}", callback="detail") for number in range(3)]
    await crawl.add(A, *olds)
    assert await walk(crawl, {old.url: [A] for old in olds}) == [(A, "detail"), (A, "parse")]
    assert await crawl.counter("links/other_callback") == 0


async def test_parse_reads_the_page_behind_its_redirect_that_another_callback_has_read(crawl: Crawl) -> None:
    await crawl.add(Request(A, callback="detail"), "http://a.example/old")
    assert await walk(crawl, {"http://a.example/old": [A]}) == [(A, "detail"), (A, "parse")]


async def test_a_repeated_commit_of_a_redirect_admits_its_target_once(world: World, crawl: Crawl) -> None:
    """A page that was visited again after its links were added and before it was committed."""
    await crawl.add(A)
    lease = await crawl.lease()
    target = Request(A, redirects=1)
    await crawl.frontier.adding.add(crawl.job, [target])
    assert await crawl.counts() == (0, 1, 0, 0), "nobody has been redirected yet"
    await redirect(crawl, lease, A)
    assert not await crawl.end(lease, Skip("redirect", A), links=(target,), status=302), "committed before"
    again = await crawl.lease()
    await crawl.end(again, Release("drain"))
    assert await walk(crawl, {}) == [(A, "parse")]
    await world.check()


async def test_a_trace_does_not_call_a_page_skipped_that_was_read_after_its_redirect(crawl: Crawl) -> None:
    await crawl.add(A)
    await walk(crawl, {A: [B], B: [A]})
    assert (await crawl.frontier.traces.trace(crawl.job, A)).skipped is None
    skipped = (await crawl.frontier.traces.trace(crawl.job, B)).skipped
    assert skipped is not None
    assert skipped.detail == A
