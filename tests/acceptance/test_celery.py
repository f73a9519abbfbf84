"""Tasks of Celery order crawls, and are told what becomes of them: real workers of Celery, real crawls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from celery import chord
from celery.exceptions import TaskRevokedError

from crawler.errors import CrawlFailed, UsageError
from tests.acceptance.shell import Shell
from tests.celery_shop import Shop
from tests.rabbitmq import PROGRAMS, RabbitMQ
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve
from tests.website import Answer, Hit

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery 5.7, with redis-py 8

PAGES = 40


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One project for all tests of this module. Its broker is RabbitMQ, if installed; `tests/chaos` has Redis."""
    with Valkey(tcp=True, appendonly=True) as server, RabbitMQ() if PROGRAMS.exists() else nullcontext() as broker:
        places = [f"redis://127.0.0.1:{server.port}/{number}" for number in range(3)]
        urls = {"frontier": places[0], "broker": broker.url if broker else places[1], "results": places[2]}
        with Shop(tmp_path_factory.mktemp("p"), **urls, pool="prefork") as shop:
            yield shop


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    async with serve(Site(pages=PAGES, hosts=2, seed=1)) as running:
        yield running


async def test_a_task_orders_a_crawl_and_is_told_its_result(shop: Shop, site: Running) -> None:
    result = shop.crawl.delay(site.seeds, spider="site", job="news-{date}-{id}", rate="1000/s")
    assert shop.state(result.id) in ("PENDING", "STARTED", "PROGRESS"), "it was sent, so it is not UNKNOWN"
    told: list[dict[str, Any]] = []
    got = await shop.get(result, on_message=told.append)
    seconds = got.pop("seconds")
    assert seconds > 0
    expected = {"pages": PAGES, "items": PAGES, "dead": 0, "refused": 0, "reason": "finished"}
    assert got == {"job": got["job"], **expected}
    assert got["job"].startswith("news-20")
    assert got["job"].endswith(result.id)
    states = [one["status"] for one in told if one["task_id"] == result.id]
    assert list(dict.fromkeys(states)) in (["STARTED", "SUCCESS"], ["STARTED", "PROGRESS", "SUCCESS"])
    assert len(shop.items(got["job"])) == PAGES
    assert shop.state("nobody") == "UNKNOWN"


async def test_a_task_that_is_delivered_again_orders_nothing_again(shop: Shop, site: Running) -> None:
    chain = shop.crawl.s(site.seeds[:1], spider="site") | shop.index.s()
    first = chain.delay()
    await shop.get(first)
    asked = len(site.log)
    again = shop.crawl.apply_async((site.seeds[:1],), {"spider": "site"}, task_id=first.parent.id, link=shop.index.s())
    await shop.get(shop.status.delay("-"))  # the worker takes one message after the other
    assert len(site.log) == asked
    assert again.get(timeout=5) == first.get()
    assert len([one for one in shop.played() if one["value"] == first.get()]) == 1


async def test_two_tasks_that_name_one_job_order_one_crawl(shop: Shop, site: Running) -> None:
    """As two beats do that both send the task of the day."""
    both = [shop.crawl.delay(site.seeds, spider="site", job=f"daily-{site.site.port}-{{date}}") for _ in range(2)]
    first, second = await asyncio.gather(*map(shop.get, both))
    assert (first["job"], first["pages"]) == (second["job"], second["pages"])
    assert len({hit.url for hit in site.log}) == len(site.log), "no page is fetched twice"


async def test_a_page_and_what_follows_it(shop: Shop, site: Running) -> None:
    items = await shop.get((shop.fetch.s(site.seeds[0], spider="site") | shop.index.s()).delay())
    assert [item["url"] for item in items] == [site.seeds[0]]
    assert [hit.path for hit in site.log] == ["/robots.txt", "/s0/p0.html"], "no link of it is followed"
    with pytest.raises(CrawlFailed, match="http_404"):
        await shop.get(shop.fetch.delay(f"{site.seeds[0]}nothing", spider="site"))
    jobs = await shop.get(shop.status.delay("-"))
    assert site.seeds[0] not in json.dumps(jobs)


async def test_a_page_that_robots_txt_forbids_has_no_items(shop: Shop) -> None:
    site = Site(pages=2, hosts=1, seed=1)
    site.robots = "User-agent: *\nDisallow: /\n"
    async with serve(site) as running:
        with pytest.raises(CrawlFailed, match="the page was skipped: robots"):
            await shop.get(shop.fetch.delay(running.seeds[0]))


async def test_a_chord_waits_for_its_crawls(shop: Shop, site: Running) -> None:
    crawls = [shop.crawl.s([seed], spider="site") for seed in site.seeds]
    both = await shop.get(chord(crawls)(shop.index.s()))
    assert sum(one["pages"] for one in both) == PAGES


async def test_a_bug_of_a_spider_is_a_failure_with_its_traceback(shop: Shop, site: Running) -> None:
    result = shop.crawl.delay(site.seeds[:1], spider="broken")
    with pytest.raises(CrawlFailed, match="callback/LookupError") as failed:
        await shop.get(result)
    assert 'spiders/broken.py", line 8, in parse' in failed.value.traceback
    assert result.traceback == failed.value.traceback
    after = (shop.crawl.s(site.seeds[:1], spider="broken") | shop.index.s()).delay()
    with pytest.raises(CrawlFailed):
        await shop.get(after, follow_parents=False)


async def test_what_a_person_does_wrong(shop: Shop) -> None:
    for order, why in (
        (shop.crawl.s(["nowhere"]), "no seed may be asked for: nowhere: no scheme"),
        (shop.crawl.s(["http://127.0.0.1/"], spider="siet"), "did you mean site?"),
        (shop.crawl.s(["http://127.0.0.1/"], rate="fast"), "'fast' is not a rate"),
        (shop.crawl.s(["http://127.0.0.1/"], job="a/b"), "job name 'a/b'"),
        (shop.redrive.s(job="nothing"), "no job is named 'nothing'"),
        (shop.crawl.s(5, job=5), "urls: expected URLs, not 5"),
    ):
        with pytest.raises(UsageError, match=why):
            await shop.get(order.delay())


async def test_a_revoked_crawl_stops_and_its_task_stays_revoked_when_somebody_resumes_its_job(shop: Shop) -> None:
    site = Site(pages=PAGES, hosts=1, seed=1)
    asked: list[Hit] = []

    def revoking(hit: Hit, page: Answer) -> Answer:
        if len(asked) == 3:
            result.revoke()
        asked.append(hit)
        return page

    site.on("/s0", revoking)
    async with serve(site) as running:
        result = shop.crawl.delay(running.seeds, spider="site", rate="10/s")
        with pytest.raises(TaskRevokedError, match="revoked"):
            await shop.get(result)
        assert len(asked) < PAGES
        status = await shop.get(shop.status.delay(result.id))
        assert status["state"] == "REVOKED"
        resumed = await Shell(shop.folder, {}).run("control", "resume", f"job:{result.id}")
        assert resumed.code == 0, resumed.err
        again = await shop.get(shop.crawl.delay(running.seeds, spider="site", rate="1000/s", job=result.id))
        assert (again["job"], again["pages"]) == (result.id, PAGES), "who follows it now is told its end"
        assert shop.app.AsyncResult(result.id).state == "REVOKED"


async def test_the_state_of_a_crawl_whose_result_has_expired(shop: Shop, site: Running) -> None:
    result = shop.crawl.delay(site.seeds[:1], spider="site")
    await shop.get(result)
    seconds = shop.app.backend.client.ttl(shop.app.backend.get_key_for_task(result.id))
    assert 0 < seconds <= shop.app.conf.result_expires.total_seconds()
    result.forget()  # as it is when that time has passed
    assert shop.app.AsyncResult(result.id).state == "PENDING"
    assert shop.state(result.id) == "SUCCESS", "the job is still known"


async def test_monitors_see_how_a_crawl_ends(shop: Shop, site: Running) -> None:
    """As Flower does: it hears the events of the worker, and of the exporter."""
    heard: dict[str, list[str]] = {}
    listening, loop = asyncio.Event(), asyncio.get_running_loop()

    class Ended(Exception):
        pass

    def hear(event: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(listening.set)  # the worker answers whoever begins to listen
        if "uuid" in event:
            heard.setdefault(event["uuid"], []).append(event["type"])
            if event["type"] == "task-succeeded":
                raise Ended

    def listen() -> None:
        with shop.app.connection_for_read() as connection, suppress(Ended):
            shop.app.events.Receiver(connection, handlers={"*": hear}).capture(limit=None, timeout=60, wakeup=True)

    hearing = asyncio.create_task(asyncio.to_thread(listen))
    await listening.wait()
    result = shop.crawl.delay(site.seeds[:1], spider="site")
    await hearing
    assert heard[result.id] == ["task-received", "task-started", "task-succeeded"]


async def test_a_job_that_is_deleted_before_its_end(shop: Shop) -> None:
    site = Site(pages=PAGES, hosts=1, seed=1)
    async with serve(site) as running:
        result = shop.crawl.delay(running.seeds, spider="site", rate="1/s")
        await running.until(2)
        ended = await Shell(shop.folder, {}).run("jobs", "delete", result.id, "--force")
        assert ended.code == 0, ended.err
        with pytest.raises(CrawlFailed, match="was deleted before its result was stored"):
            await shop.get(result)


async def test_urls_are_added_to_a_job(shop: Shop, site: Running) -> None:
    urls = [site.seeds[0], {"url": site.seeds[1], "priority": 5}, {"url": "nowhere"}, {"uri": "x"}, 5]
    added = await shop.get(shop.submit.delay(urls, job="feed", arguments={"prices": 3}, spider="given"))
    assert added == {"job": "feed", "new": 2, "known": 0, "refused": {"bad seed": 3}}
    again = await shop.get(shop.submit.delay(site.seeds[0], job="feed"))
    assert (again["new"], again["known"]) == (0, 1), "one URL may be given as it is"
    assert await shop.get(shop.stop.delay("feed")) == "feed"
    assert await shop.get(shop.stop.delay("nothing")) == ""


async def test_rules_that_the_items_of_an_ordered_crawl_break_are_logged(shop: Shop, site: Running) -> None:
    got = await shop.get(shop.crawl.delay(site.seeds[:1], spider="given"))
    said = await shop.said("exporter", "coverage_rule_broken", got["job"])
    assert "price is filled in 0 of 1 item (0 %), at least 100 % wanted (COVERAGE_RULES)" in said


async def test_what_an_export_of_ordered_crawls_lacks(bare: Shell) -> None:
    for arguments, code, why in (
        (("-o", "{job}.jsonl"), 78, "set CELERY_APP"),
        (("-o", "items.jsonl", "-s", "CELERY_APP=shop:app"), 2, "each job needs a file of its own"),
        (("-O", "{job}.jsonl", "-s", "CELERY_APP=shop:app"), 2, "write -o"),
        (("-o", "{job}.jsonl", "-s", "CELERY_APP=shop:app"), 78, "CELERY_APP=shop:app: ModuleNotFoundError"),
        (("-o", "{job}.jsonl", "--follow"), 2, "leave out the other options"),
    ):
        ended = await bare.run("export", "--ordered", *arguments)
        assert (ended.code, why in ended.error) == (code, True), ended.err


async def test_pages_that_wait_for_another_try_are_told_and_dead_ones_tried_again(shop: Shop) -> None:
    site, answers = Site(pages=1, hosts=1, seed=1), [503]

    def answer(hit: Hit, page: Answer) -> Answer:
        return Answer(b"", answers[0]) if answers[0] else page

    site.on("/s0", answer)
    async with serve(site) as running:
        result = shop.crawl.delay(running.seeds, spider="site")

        def told(message: dict[str, Any]) -> None:
            if message["status"] == "RETRY" and message["task_id"] == result.id:
                answers[0] = 404

        with pytest.raises(CrawlFailed, match="http_404"):
            await shop.get(result, on_message=told)
        assert answers == [404], "RETRY was told"
        answers[0] = 0
        again = await shop.get(shop.redrive.delay(job=result.id))
        assert (again["pages"], again["dead"]) == (1, 0)
