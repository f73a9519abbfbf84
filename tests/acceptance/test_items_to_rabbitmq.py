"""`-o amqp://…`: no item is lost, and each keeps its id, though the exporter, the broker and the server are killed."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Done, Job, Request, Visit
from tests.acceptance.shell import LOCAL, Shell
from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.valkey import Valkey
from tests.webserver import Running

pytestmark = needs_rabbitmq

PACE = Pace(delay=0.0, concurrency=1000)
PAGES = 3_000


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    with RabbitMQ() as broker:
        yield broker


async def with_items(frontier: Backend) -> None:
    """A job whose outbox has an item of each of many pages."""
    job = await frontier.jobs.create(Job("news"))
    for at in range(0, PAGES, 500):
        await frontier.adding.add(job, [Request(f"http://a.example/{n}") for n in range(at, at + 500)], seed=True)
        leases = (await frontier.queue.claim("w1", 500, [job], PACE)).leases
        visits = [(lease, Visit(Done(), items=(b'{"url":"%s"}' % lease.request.url.encode(),))) for lease in leases]
        await frontier.queue.commit("w1", visits, PACE)


async def bound(broker: RabbitMQ, queue: str) -> None:
    async with await broker.connect() as connection, connection.channel() as channel:
        exchange = await channel.declare_exchange("items", "topic", durable=True)
        await (await channel.declare_queue(queue, durable=True)).bind(exchange, "#")


async def contents(broker: RabbitMQ, name: str, least: int = 0) -> Counter[str | None]:
    """How often each id is in the queue, which stays as it is; waits until there are `least` messages."""
    async with await broker.connect() as connection, connection.channel() as channel:
        queue = await channel.get_queue(name)
        found: Counter[str | None] = Counter()
        while sum(found.values()) < least or not least:
            message = await queue.get(fail=False, timeout=30)
            if message is not None:
                found[message.message_id] += 1
            elif not least:
                break
        return found


async def test_each_item_arrives_with_its_id_whatever_is_killed(folder: Path, broker: RabbitMQ) -> None:
    await bound(broker, "all")
    with Valkey(appendonly=True) as server:
        async with open_redis(Server(server.url)) as frontier:
            await with_items(frontier)
        shell = Shell(folder, {"REDIS_URL": server.url})
        settings = ("-s", "EXPORT_BATCH=50", "-s", "LEASE_SECONDS=2")
        command = ("export", "--job", "news", "-o", f"{broker.url}?exchange=items", *settings)
        for part in (1, 2, 3):
            exporting = await shell.start(*command, "--follow")
            await contents(broker, "all", least=part * PAGES // 8)
            if part == 1:
                broker.kill()
                broker.start()
            elif part == 2:
                server.kill()
                server.start()
            exporting.kill()
            await exporting.wait()
        ended = await shell.run(*command, "--until-finished")
        assert ended.code == 0, ended.err
    ids = await contents(broker, "all")
    assert len(ids) == PAGES


async def test_a_crawl_sends_its_items_and_shows_no_password(shell: Shell, broker: RabbitMQ, site: Running) -> None:
    await bound(broker, "crawled")
    where = f"{broker.url}?exchange=items&key={{spider}}.{{host}}"
    ended = await shell.run("crawl", *site.seeds, "-o", where, *LOCAL)
    assert ended.code == 0, ended.err
    ids = await contents(broker, "crawled")
    assert ids
    assert set(ids.values()) == {1}
    assert f"items     {len(ids)} → amqp://guest:***@127.0.0.1:{broker.port}/?exchange=items" in ended.err
    assert "guest:guest" not in ended.err


async def test_a_target_that_cannot_be_meant(shell: Shell, broker: RabbitMQ) -> None:
    for target, code, why in (
        (f"{broker.url}?exchange=nowhere", 78, "no exchange 'nowhere'"),
        (f"{broker.url}?exchang=items", 78, "did you mean exchange?"),
        (f"{broker.url}?exchange=items&key={{hots}}", 78, "no place {hots}"),
        ("kafka://h/items", 2, "items go to a file, to stdout (-) or to "),
    ):
        ended = await shell.run("crawl", "http://127.0.0.1:1/", "-o", target, *LOCAL)
        assert (ended.code, why in ended.error) == (code, True), ended.err
    replaced = await shell.run("crawl", "http://127.0.0.1:1/", "-O", f"{broker.url}?exchange=items", *LOCAL)
    assert (replaced.code, "cannot be replaced: write -o" in replaced.error) == (2, True)


async def test_dead_letters_are_sent_as_they_come(shell: Shell, broker: RabbitMQ) -> None:
    await bound(broker, "dead")
    where = f"{broker.url}?exchange=items&key=dead.{{host}}"
    following = await shell.start("dead", "--follow", "-o", where)
    gone = ("-s", "RETRY_TIMES=0", "-s", "ROBOTSTXT_OBEY=false", "-o", "items.jsonl")
    await shell.run("crawl", "http://127.0.0.1:1/", *LOCAL, *gone, "--job", "gone")
    (id_,) = await contents(broker, "dead", least=1)
    assert ".dead-" in (id_ or "")
    following.terminate()
    assert await following.wait() == 0
    ended = await shell.run("dead", "-o", where, "--where", "error=connect")
    assert (ended.code, ended.err.startswith("1 dead letter → amqp://guest:***@")) == (0, True)
    assert await contents(broker, "dead") == {id_: 2}, "at least once, with the same id"
    for arguments, why in (
        (("-o", "file.jsonl"), "dead letters go to an exchange"),
        (("-o", f"{broker.url}?stream=dead"), "dead letters go to an exchange"),
        (("-o", where, "--limit", "5"), "-o takes --job, --where and --follow"),
        (("-o", where, "--job", "gnoe"), "gone"),
    ):
        wrong = await shell.run("dead", *arguments)
        assert (wrong.code, why in wrong.error) == (2, True)


async def test_events_of_a_job(shell: Shell, broker: RabbitMQ, site: Running) -> None:
    """Started and finished, in order; a broker that is away holds nothing up."""
    await bound(broker, "events")
    url = f"{broker.url}?exchange=items"
    ended = await shell.run("crawl", *site.seeds, "-o", "e.jsonl", "--job", "ev", *LOCAL, "-s", f"EVENTS_URL={url}")
    assert ended.code == 0, ended.err
    async with await broker.connect() as connection, connection.channel() as channel:
        queue = await channel.get_queue("events")
        told = []
        while message := await queue.get(fail=False):
            told.append((message.routing_key, json.loads(message.body)))
    assert [key for key, _ in told] == ["ev.started", "ev.finished"]
    assert told[-1][1]["pages"] > 0
    away = "EVENTS_URL=amqp://127.0.0.1:1/?exchange=items"
    ended = await shell.run("crawl", *site.seeds, "-o", "f.jsonl", "--job", "ev2", *LOCAL, "-s", away)
    assert (ended.code, "events_lost_in_all" in ended.err) == (0, True)
    broker.signal(signal.SIGSTOP)  # it takes connections, and says nothing
    ended = await shell.run("crawl", *site.seeds, "-o", "g.jsonl", "--job", "ev4", *LOCAL, "-s", f"EVENTS_URL={url}")
    broker.signal(signal.SIGCONT)
    assert (ended.code, "events_lost_in_all" in ended.err) == (0, True)
    wrong = await shell.run("crawl", *site.seeds, "--job", "ev3", "-s", "EVENTS_URL=amqp://me:secret@h/?exchang=x")
    assert (wrong.code, "did you mean exchange?" in wrong.error, "secret" in wrong.err) == (78, True, False)


DRIFTING = """
from crawler import Spider

class Shop(Spider):
    name = "shop"
    pages = 0

    def parse(self, response):
        self.pages += 1
        yield {"url": response.url, "price": 1 if self.pages <= 24 else None}
        yield from response.follow_all()
"""


async def test_a_person_is_told_of_a_drift(shell: Shell, broker: RabbitMQ, site: Running) -> None:
    """With three examples: in the log, in `status`, as an event, and in `why` of each."""
    await bound(broker, "drift")
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "shop.py").write_text(DRIFTING)
    # few pages at once, so that the good ones are counted before the others are read
    settings = "DRIFT_MIN=5", "PROCESSES=1", "CONCURRENT_REQUESTS=4", f"EVENTS_URL={broker.url}?exchange=items"
    watched = [word for setting in settings for word in ("-s", setting)]
    crawl = await shell.run("crawl", *site.seeds, "--spider", "shop", "--job", "drift", *watched, *LOCAL)
    async with await broker.connect() as connection, connection.channel() as channel:
        queue = await channel.get_queue("drift")
        told = {}
        while message := await queue.get(fail=False):
            told[message.routing_key] = json.loads(message.body)
    assert "drift.paused" in told, crawl.err
    pause = told["drift.paused"]
    assert (pause["what"], pause["name"]) == ("callback", "shop.parse")
    assert pause["why"].startswith("price is filled in ")
    examples = pause["why"].partition("for example ")[2].split()
    assert len(examples) == 3
    items = map(json.loads, (shell.folder / "drift.jsonl").read_text().splitlines())
    lacking = {one["url"] for one in items if one["price"] is None}
    assert set(examples) <= lacking
    (line,) = [json.loads(line) for line in crawl.err.splitlines() if '"event":"coverage_drift"' in line]
    assert (line["callback"], line["why"]) == ("shop.parse", pause["why"])

    status = " ".join((await shell.run("status")).out.split())
    assert f"callback shop.parse: {pause['why']}" in status
    assert "gave items without fields that they had before" in status
    why = " ".join((await shell.run("why", examples[0])).out.split())
    assert "kept, because its items lack fields that others of shop.parse had: price is filled in " in why
    assert "redrive --incomplete --job drift, then crawler control resume callback:shop.parse --job drift" in why
