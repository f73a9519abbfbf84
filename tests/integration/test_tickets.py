"""When a task that waits for a job is told what: on a real queue server, with Celery's results in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, states
from celery.result import AsyncResult
from msgspec.structs import replace
from structlog.testing import capture_logs

from crawler.app.celery_results import PROGRESS, CeleryResults, reply_of
from crawler.app.config import Config
from crawler.app.export_ordered import _Ordered
from crawler.app.order import order_crawl, stop
from crawler.app.tickets import Telling, by_task
from crawler.control.rules import parse
from crawler.errors import CrawlFailed, OutputError, UsageError
from crawler.export.target import Target
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Dead, Done, Exported, Failure, Job, Outcome, Request, Ticket, Visit
from crawler.settings import Settings
from crawler.spiders.registry import find_spiders
from tests.valkey import Valkey

URL = "http://a.example/"
CONFIG = Config(Settings(), {}, Path())


@pytest.fixture
async def frontier(valkey_server: Valkey, tmp_path: Path) -> AsyncIterator[Backend]:
    async with open_redis(Server(valkey_server.url), prefix=tmp_path.name) as opened:
        yield opened


@pytest.fixture
def app() -> Iterator[Any]:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield app
    app.close()


async def ordered(frontier: Backend, id: str, *, is_page: bool = False, **request: Any) -> Job:
    """A job with one URL, and the ticket of a task that waits for it."""
    job = await frontier.jobs.create(Job(id))
    await frontier.adding.add(job, [Request(URL)], seed=True)
    asked = SimpleNamespace(id=id, delivery_info={}, **request)
    await frontier.tickets.issue(Ticket(id, id, job.epoch, is_page, refused=1, reply=reply_of(asked)))
    return job


async def read(
    frontier: Backend,
    job: Job,
    outcome: Outcome = Done(),  # noqa: B008 - a constant
    *items: bytes,
    noted: Mapping[str, int] = {},
) -> None:
    """Let a worker end the job's only page."""
    (lease,) = (await frontier.queue.claim("w1", 1, [job], Pace(delay=0))).leases
    assert await frontier.queue.commit("w1", [(lease, Visit(outcome, items=items, noted=noted))], Pace(delay=0)) == [
        True
    ]


async def tell(frontier: Backend, app: Any, job: Job, **settings: Any) -> list[Ticket]:
    """Tell whoever waits, as the exporter of the job does. Return the tickets that stay open."""
    config = replace(CONFIG, settings=replace(CONFIG.settings, **settings))
    await Telling(config, frontier, CeleryResults(app)).tell(job, await frontier.tickets.open())
    return await frontier.tickets.open()


def of(app: Any, id: str) -> tuple[str, Any]:
    result = AsyncResult(id, app=app)
    return result.state, result.result


async def test_the_result_is_told_when_a_sink_has_the_items(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i1")
    assert await tell(frontier, app, job)
    assert of(app, "i1")[0] == states.PENDING, "no worker has taken a page"
    await read(frontier, job, Done(), b'{"n":1}')
    assert await tell(frontier, app, job), "finished, and its items are in no sink"
    assert of(app, "i1")[0] == PROGRESS
    (entry,) = await frontier.outbox.read(job, {}, 10)
    await frontier.outbox.acknowledge(job, Exported({entry.shard: entry.position}, "items.jsonl"))
    assert await tell(frontier, app, job) == []
    state, got = of(app, "i1")
    assert (state, got["job"], got["pages"], got["items"], got["refused"]) == (states.SUCCESS, "i1", 1, 1, 1)


async def test_what_another_exporter_told_before_it_died_is_not_told_again(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i2", chain=[app.signature("next", task_id="after")])
    await read(frontier, job)
    app.backend.store_result("i2", {"pages": 1}, states.SUCCESS)
    assert await tell(frontier, app, job) == []
    with app.connection_for_read() as connection:
        assert not len(connection.SimpleQueue("celery")), "what follows was started before"


async def test_a_ticket_stays_open_while_the_results_cannot_be_stored(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i3")
    await read(frontier, job)
    away = Celery("shop", broker="memory://", backend="redis://127.0.0.1:1/0", set_as_current=False)
    away.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 1}}
    assert len(await tell(frontier, away, job)) == 1
    away.close()
    assert await tell(frontier, app, job) == []
    assert of(app, "i3")[0] == states.SUCCESS


async def test_the_items_of_a_page_are_the_result_and_its_job_ends(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i4", is_page=True)
    await read(frontier, job, Done(), b'{"n":1}', b'{"n":2}')
    assert await tell(frontier, app, job) == []
    assert of(app, "i4") == (states.SUCCESS, [{"n": 1}, {"n": 2}])
    assert await frontier.jobs.all() == []


async def test_a_page_may_have_more_items_than_are_read_at_once(frontier: Backend, app: Any) -> None:
    """Each item that waited for its files is an entry of its own."""
    job, count = await ordered(frontier, "i11", is_page=True), 1_001
    await frontier.adding.add(job, [Request(f"{URL}{number}") for number in range(count - 1)])
    pace = Pace(delay=0, concurrency=count)
    leases = (await frontier.queue.claim("w1", count, [job], pace)).leases
    visits = [(lease, Visit(Done(), items=(b'{"n":%d}' % number,))) for number, lease in enumerate(leases)]
    await frontier.queue.commit("w1", visits, pace)
    assert await tell(frontier, app, job) == []
    assert sorted(item["n"] for item in of(app, "i11")[1]) == list(range(count))


@pytest.mark.parametrize(("strict", "state"), [(False, states.SUCCESS), (True, states.FAILURE)])
async def test_what_a_page_has_lost_is_a_failure_with_strict(
    frontier: Backend, app: Any, strict: bool, state: str
) -> None:
    job = await ordered(frontier, f"i12-{strict}", is_page=True)
    await read(frontier, job, Done(), b'{"n":1}', noted={"cut/links": 1})
    assert await tell(frontier, app, job, STRICT=strict) == []
    told, result = of(app, job.name)
    assert (told, "PARSE_MAXLINKS" in str(result)) == (state, strict)


@pytest.mark.parametrize(("strict", "state"), [(False, states.SUCCESS), (True, states.FAILURE)])
async def test_refused_seeds_are_a_failure_with_strict(frontier: Backend, app: Any, strict: bool, state: str) -> None:
    job = await ordered(frontier, f"i13-{strict}")
    await read(frontier, job, Done(), b'{"n":1}')
    (entry,) = await frontier.outbox.read(job, {}, 10)
    await frontier.outbox.acknowledge(job, Exported({entry.shard: entry.position}, "items.jsonl"))
    assert await tell(frontier, app, job, STRICT=strict) == []
    told, result = of(app, job.name)
    assert (told, "1 seed: refused" in str(result)) == (state, strict)


async def test_a_page_that_was_given_up(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i5", is_page=True)
    await read(frontier, job, Dead(Failure("callback", "KeyError: 'price'", traceback="Traceback …")))
    assert await tell(frontier, app, job) == []
    state, error = of(app, "i5")
    assert (state, error.reason, error.traceback) == (states.FAILURE, "callback: KeyError: 'price'", "Traceback …")


async def test_the_rate_of_an_order_ends_with_it_and_other_rules_stay(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i6")
    for rule, by in ((parse("rate", ["job:i6", "10/m"]), by_task("i6")), (parse("priority", ["job:i6", "5"]), "ann")):
        await frontier.control.set_rule(replace(rule, by=by))
    assert len(await tell(frontier, app, job)) == 1
    assert len(await frontier.control.rules()) == 2
    await read(frontier, job)
    await tell(frontier, app, job)
    assert [rule.by for rule in await frontier.control.rules()] == ["ann"]


async def test_a_job_that_somebody_stops(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i7")
    assert await stop(frontier, "i7", "revoked", "task t9") == "i7"
    assert await tell(frontier, app, job) == []
    state, error = of(app, "i7")
    assert (state, "revoked (by task t9)" in str(error)) == (states.REVOKED, True)


async def test_a_job_that_is_gone(frontier: Backend, app: Any) -> None:
    job = await ordered(frontier, "i8")
    await frontier.jobs.delete("i8")
    assert len(await tell(frontier, app, job)) == 1, "the job may only look finished"
    (ticket,) = await frontier.tickets.open()
    await Telling(CONFIG, frontier, CeleryResults(app)).tell_deleted(ticket)
    assert await frontier.tickets.open() == []
    state, error = of(app, "i8")
    assert (state, type(error)) == (states.FAILURE, CrawlFailed)


async def test_an_order_without_a_seed_that_may_be_asked_for_leaves_nothing(frontier: Backend, tmp_path: Path) -> None:
    ticket, spiders = Ticket("t1", "i9", ""), find_spiders(tmp_path, ())
    with pytest.raises(UsageError, match="no seed may be asked for: nowhere: no scheme"):
        await order_crawl(CONFIG, frontier, spiders, Job("i9"), ["nowhere"], ticket, rate="10/m")
    assert await frontier.jobs.all() == []
    assert (await frontier.control.rules(), await frontier.tickets.open()) == ([], [])


async def test_each_seed_that_is_refused_is_logged_with_the_reason(frontier: Backend, tmp_path: Path) -> None:
    bad: list[Any] = ["nowhere", {"url": "http://b.example/", "when": 1}, {"url": "ftp://c.example/"}, 5, "there"]
    job, ticket = Job("i14"), Ticket("t1", "i14", "")
    with capture_logs() as logs:
        await order_crawl(CONFIG, frontier, find_spiders(tmp_path, ()), job, [URL, *bad], ticket)
    told = [one for one in logs if one["event"] == "seed_refused"]
    assert [one["url"] for one in told] == ["nowhere", "http://b.example/", "ftp://c.example/", "5", "there"]
    assert {one["job"] for one in told} == {"i14"}
    assert "unknown field 'when'" in told[1]["why"]
    assert [ticket.refused for ticket in await frontier.tickets.open()] == [5]


async def test_an_export_that_failed_when_it_was_stopped_is_told(frontier: Backend, app: Any, tmp_path: Path) -> None:
    await ordered(frontier, "i10")
    (tmp_path / "i10").mkdir()
    telling = Telling(CONFIG, frontier, CeleryResults(app))
    exports = _Ordered(CONFIG, frontier, [Target(str(tmp_path / "{job}"))], telling)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, stop.set)  # before the second look
    with pytest.raises(OutputError, match="i10"):
        await exports.until(stop)
