"""Two beats with the same schedule: each job is crawled once. Redis is the broker, and Celery's worker has threads."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.celery_shop import Shop
from tests.valkey import Valkey
from tests.webserver import Site, serve

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery 5.7, with redis-py 8

PAGES = 3
JOBS = 3  # that both beats must have ordered
BEATS = ("beat", "other beat")


async def test_of_two_beats_at_work_each_named_job_is_crawled_once(tmp_path: Path) -> None:
    site = Site(pages=PAGES, hosts=1, seed=1)
    with Valkey(tcp=True, appendonly=True) as server:
        places = [f"redis://127.0.0.1:{server.port}/{number}" for number in range(3)]
        async with serve(site) as running:
            with Shop(tmp_path, frontier=places[0], broker=places[1], results=places[2], pool="threads") as shop:
                named = {"spider": "site", "job": "news-{second}"}
                shop.schedule(task="crawler.celery.crawl", schedule=1.0, args=(running.seeds,), kwargs=named)
                for beat in BEATS:
                    shop.start(beat)
                while sum(len(orders) > 1 for orders in told(shop).values()) < JOBS:  # noqa: ASYNC110 - see `told`
                    await asyncio.sleep(0.1)
                for beat in BEATS:
                    shop.terminate(beat)
                while any(one["status"] != "SUCCESS" for one in results(shop)):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                jobs = told(shop)
    for job, orders in jobs.items():
        assert {(job, one["pages"], one["items"], one["dead"]) for one in orders} == {(job, PAGES, PAGES, 0)}
    asked = Counter(hit.url for hit in running.log if hit.path != "/robots.txt")
    assert asked == dict.fromkeys(site.truth(), len(jobs)), "each job has asked for each page once"


def results(shop: Shop) -> list[dict[str, Any]]:
    """What is stored for each task that was sent; in the server, which tells nobody."""
    client = shop.app.backend.client
    return [json.loads(stored) for key in client.keys("celery-task-meta-*") if (stored := client.get(key))]


def told(shop: Shop) -> dict[str, list[dict[str, Any]]]:
    """Job → what each task that ordered it was told."""
    jobs = defaultdict(list)
    for one in results(shop):
        if one["status"] == "SUCCESS":
            jobs[one["result"]["job"]].append(one["result"])
    return jobs
