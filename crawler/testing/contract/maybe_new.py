"""`maybe_new` leaves out only requests that are certainly known."""

from __future__ import annotations

from msgspec.structs import replace

from crawler.model import Job, Request
from crawler.testing.contract.world import Crawl, World, pages


async def test_unknown_requests_all_stay(crawl: Crawl) -> None:
    await crawl.add(*pages(3), seed=False)
    new = [Request(url) for url in pages(9)[3:]]
    assert list(crawl.frontier.links.maybe_new(crawl.job, new)) == new


async def test_what_is_left_out_would_have_changed_nothing(crawl: Crawl) -> None:
    await crawl.add(*pages(5), seed=False)
    requests = [Request(url) for url in pages(9)]
    kept = crawl.frontier.links.maybe_new(crawl.job, requests)
    assert await crawl.add(*kept, seed=False) == 4
    assert await crawl.add(*requests, seed=False) == 0


async def test_urls_are_left_out_like_the_requests_that_are_nothing_else(crawl: Crawl) -> None:
    await crawl.add(*pages(5), seed=False)
    urls = pages(9)
    kept = crawl.frontier.links.maybe_new(crawl.job, [Request(url) for url in urls])
    assert list(crawl.frontier.links.maybe_new_urls(crawl.job, urls)) == [request.url for request in kept]


async def test_requests_that_are_more_than_their_url_stay(crawl: Crawl) -> None:
    """A POST, a `dont_filter` request, and a redirect, which may say where the site really is."""
    await crawl.add("http://a.example/", seed=False)
    plain = Request("http://a.example/")
    others = [
        replace(plain, dont_filter=True),
        replace(plain, method="POST"),
        replace(plain, body=b"x"),
        replace(plain, redirects=1),
    ]
    assert list(crawl.frontier.links.maybe_new(crawl.job, others)) == others


async def test_a_job_of_the_same_name_starts_with_nothing_known(world: World, crawl: Crawl) -> None:
    await crawl.add(*pages(3), seed=False)
    await crawl.frontier.jobs.delete(crawl.job.name)
    again = await crawl.frontier.jobs.create(Job(crawl.job.name))
    requests = [Request(url) for url in pages(3)]
    assert list(crawl.frontier.links.maybe_new(again, requests)) == requests
    assert list(crawl.frontier.links.maybe_new_urls(again, pages(3))) == pages(3)
