"""P41: each crawl that a task of Celery has ordered ends once and with the right result, whatever is killed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.celery_shop import Shop
from tests.chaos.judge import TABLE, Row
from tests.chaos.stage import Scale, Theatre
from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.valkey import Valkey
from tests.webserver import Site, expected, serve

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated setex"),  # by Celery 5.7, with redis-py 8
    # py-amqp forgets the sockets of connections that broke
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

PAGES = 12  # of each crawl, or a few less


@pytest.mark.parametrize("broker", ["redis", pytest.param("rabbitmq", marks=[needs_rabbitmq, pytest.mark.long])])
async def test_p41_celery(theatre: Theatre, scale: Scale, broker: str, tmp_path: Path) -> None:
    """Celery's worker, ours, the exporter, the broker, the queue server and the server of the results are killed by
    turns, the first of them while the crawls are ordered."""
    crawls, rounds = (8, max(1, scale.faults // 6)) if scale.is_long else (3, 1)
    row = Row("P41", f"Celery with {broker}: everything killed", theatre.seed)
    TABLE.append(row)
    started, chance = time.monotonic(), random.Random(theatre.seed)
    site = Site(pages=PAGES * crawls, hosts=crawls, seed=theatre.seed)
    with (
        Valkey(tcp=True, appendonly=True) as server,
        Valkey(tcp=True, appendonly=True) as results,
        Valkey(tcp=True, appendonly=True) if broker == "redis" else RabbitMQ() as messages,
        Shop(tmp_path, frontier=server.url, broker=messages.url, results=results.url) as shop,
    ):
        async with serve(site) as running:
            chain = [shop.crawl.s([seed], spider="site", job=f"{{id}}-{n}") for n, seed in enumerate(running.seeds)]
            orders = [(one | shop.index.s()).delay() for one in chain]
            victims: list[Any] = ["celery", "worker", "exporter", messages, server, results] * rounds
            chance.shuffle(victims)
            moments = sorted(chance.randrange(crawls * PAGES // 2) for _ in victims[1:])
            for victim, pages in zip(victims, [0, *moments], strict=True):
                await running.until(pages)
                row.faults.append((time.monotonic(), f"kill -9 of {victim}"))
                await asyncio.to_thread(_kill, shop, victim)
            got = await asyncio.gather(*(shop.get(order) for order in orders))
    truths = [expected(site, [seed], [urlsplit(seed).hostname or ""]) for seed in running.seeds]
    right = [
        (one["pages"], one["items"], one["dead"]) == (len(truth), len(truth), 0)
        and sorted(item["url"] for item in shop.items(one["job"])) == sorted(truth)
        and one["job"].startswith(order.parent.id)
        for order, one, truth in zip(orders, got, truths, strict=True)
    ]
    followed = Counter(one["id"] for one in shop.played())
    row.seconds = time.monotonic() - started
    row.faults_before(time.monotonic())
    row.exactly("right results", sum(right), crawls)
    row.exactly("followed by another task", len(followed.keys() & {order.id for order in orders}), crawls)
    row.exactly("by a task of another id", len(followed.keys() - {order.id for order in orders}), 0)
    row.told("by the same task again", sum(followed.values()) - len(followed))
    assert row.passed, row


@pytest.mark.long
async def test_p41_celery_half_ordered(theatre: Theatre, tmp_path: Path) -> None:
    """Celery's worker is killed after it said STARTED and before the order is in the queue server, which is frozen."""
    site = Site(pages=PAGES, hosts=1, seed=theatre.seed)
    with (
        Valkey(tcp=True, appendonly=True) as server,
        Valkey(tcp=True, appendonly=True) as results,
        Valkey(tcp=True, appendonly=True) as messages,
        Shop(tmp_path, frontier=server.url, broker=messages.url, results=results.url) as shop,
    ):
        async with serve(site) as running:
            await shop.get(shop.status.delay("-"))  # now the worker is connected
            with server.frozen():
                order = (shop.crawl.s(running.seeds, spider="site", job="half") | shop.index.s()).delay()
                await asyncio.to_thread(_until_started, order.parent)
                shop.kill("celery")
            shop.start("celery")
            got = await shop.get(order)
    assert (got["job"], got["pages"], got["items"]) == ("half", PAGES, PAGES)
    assert [one["id"] for one in shop.played()] == [order.id]
    assert len({hit.url for hit in running.log}) == len(running.log), "no page is fetched twice"


def _until_started(result: Any) -> None:
    while result.state != "STARTED":
        time.sleep(0.02)


def _kill(shop: Shop, victim: str | Valkey | RabbitMQ) -> None:
    if isinstance(victim, str):
        shop.kill(victim)
        shop.start(victim)
    else:
        victim.kill()
        victim.start()
