"""Which fields of a job's items are filled: counted with the page, once, and in bounded space."""

from __future__ import annotations

from crawler.model import Dead, Done, Filled, Lease, Outcome, Release, Retry, Skip, Visit
from crawler.status import Coverage, FieldCoverage
from crawler.testing.contract.world import AT_ONCE, Crawl, failed, hosts, pages

CALLBACK = "shop.parse"


async def coverage(crawl: Crawl) -> list[Coverage]:
    return await crawl.frontier.reading.coverage(crawl.job)


async def end(crawl: Crawl, lease: Lease, *filled: Filled, outcome: Outcome | None = None) -> bool:
    """Commit a page with as many items as these counts name."""
    items = tuple(b"{}" for one in filled for _ in range(one.items))
    return await crawl.end(lease, outcome, items=items, filled=filled)


async def test_counts_are_added_up_by_callback_and_class(crawl: Crawl) -> None:
    await crawl.add(*hosts(3))
    first, second, third = (await crawl.claim()).leases
    await end(
        crawl, first, Filled(CALLBACK, "Product", 3, {"name": 3, "price": 1}), Filled(CALLBACK, "Offer", 1, {"a": 1})
    )
    await end(crawl, second, Filled(CALLBACK, "Product", 2, {"name": 2, "brand": 2}))
    await end(crawl, third, Filled("shop.parse_item", "Product", 1, {"name": 0}))
    offer, product, other = await coverage(crawl)
    assert offer == Coverage(CALLBACK, "Offer", 1, 1, {"a": FieldCoverage(1)})
    assert (product.callback, product.kind, product.items, product.pages, product.others) == (
        CALLBACK,
        "Product",
        5,
        2,
        0,
    )
    assert {name: one.filled for name, one in product.fields.items()} == {"name": 5, "price": 1, "brand": 2}
    assert (other.items, other.fields["name"]) == (1, FieldCoverage(0, (third.request.url,)))


async def test_pages_of_one_commit_count_as_pages_of_several_do(crawl: Crawl) -> None:
    await crawl.add(*pages(30))
    leases = (await crawl.claim(30)).leases
    filled = (Filled(CALLBACK, "dict", 2, {"name": 2, "price": 1}),)
    visits = [(lease, Visit(Done(), items=(b"{}", b"{}"), filled=filled)) for lease in leases]
    assert all(await crawl.frontier.queue.commit("w1", visits[:20], AT_ONCE))
    assert all(await crawl.frontier.queue.commit("w1", visits[20:], AT_ONCE))
    (one,) = await coverage(crawl)
    assert (one.items, one.pages) == (60, 30)
    assert one.fields == {"name": FieldCoverage(60), "price": FieldCoverage(30, tuple(pages(3)))}


async def test_what_is_not_committed_does_not_count(crawl: Crawl) -> None:
    """A page that will be visited again brings its items then; a commit that is refused changes nothing."""
    await crawl.add(*pages(1))
    filled = Filled(CALLBACK, "dict", 1, {"name": 1})
    for outcome in (Retry(failed(), 0.0), Release("drain")):
        lease = await crawl.lease()
        await end(crawl, lease, filled, outcome=outcome)
        assert not await end(crawl, lease, filled)
    assert await coverage(crawl) == []
    await end(crawl, await crawl.lease(), filled)
    assert [one.items for one in await coverage(crawl)] == [1]


async def test_items_of_an_errback_count(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    for outcome in (Dead(failed()), Skip("ignored")):
        await end(crawl, await crawl.lease(), Filled("shop.failed", "dict", 1, {"why": 1}), outcome=outcome)
    (one,) = await coverage(crawl)
    assert (one.callback, one.items) == ("shop.failed", 2)


async def test_a_repeated_commit_counts_once(crawl: Crawl) -> None:
    await crawl.add(*pages(1))
    lease = await crawl.lease()
    assert [await end(crawl, lease, Filled(CALLBACK, "dict", 1, {"name": 1})) for _ in range(2)] == [True, False]
    assert [one.items for one in await coverage(crawl)] == [1]


async def test_of_a_field_the_first_three_pages_that_lack_it_are_shown(crawl: Crawl) -> None:
    await crawl.add(*pages(6))
    filled = [{"name": 1, "price": 1}, {"name": 1}, {}, {"name": 1, "price": 0}, {"name": 1}, {"name": 1}]
    for number, fields in enumerate(filled):
        lease = await crawl.lease()
        assert lease.request.url == pages(6)[number]
        await end(crawl, lease, Filled(CALLBACK, "dict", 1, fields))
    (one,) = await coverage(crawl)
    assert one.fields["price"] == FieldCoverage(1, tuple(pages(6)[1:4]))
    assert one.fields["name"] == FieldCoverage(5, (pages(6)[2],))


async def test_a_spider_that_invents_fields_costs_bounded_space(crawl: Crawl) -> None:
    """The first hundred names count by themselves, the others in sum."""
    await crawl.add(*pages(30))
    for number in range(30):
        fields = {f"field {number} {one}": 1 for one in range(10)}
        await end(crawl, await crawl.lease(), Filled(CALLBACK, "dict", 1, fields, others=number % 2))
    (one,) = await coverage(crawl)
    assert (one.items, len(one.fields), one.others) == (30, 100, 200 + 15)


async def test_a_spider_that_invents_classes_costs_bounded_space(crawl: Crawl) -> None:
    """Fifty of them count; the items of the others are a counter of the job."""
    await crawl.add(*pages(60))
    for number in range(60):
        await end(crawl, await crawl.lease(), Filled(CALLBACK, f"Class{number}", 2, {"name": 2}))
    assert len(await coverage(crawl)) == 50
    assert await crawl.counter("uncovered") == 20


async def test_names_are_kept_as_they_are(crawl: Crawl) -> None:
    names = {'"': 1, "\\": 1, "ü\t\n": 1, "": 1, "1": 1, "a/b": 1, "\U0001f980": 1}
    await crawl.add(*pages(1))
    await end(crawl, await crawl.lease(), Filled(CALLBACK, "dict", 1, names))
    (one,) = await coverage(crawl)
    assert {name: field.filled for name, field in one.fields.items()} == names


async def test_a_deleted_job_takes_its_counts_with_it(crawl: Crawl) -> None:
    await crawl.add(*pages(1))
    await end(crawl, await crawl.lease(), Filled(CALLBACK, "dict", 1, {"name": 0}))
    await crawl.frontier.jobs.delete(crawl.job.name)
    again = await crawl.frontier.jobs.create(crawl.job)
    assert await crawl.frontier.reading.coverage(again) == []
