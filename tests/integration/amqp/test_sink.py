"""Items end in an exchange: each is confirmed before it leaves the outbox, and keeps its id whatever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from msgspec.structs import replace

from crawler.amqp.address import Address, Broker, read
from crawler.errors import ConfigError, OutputError
from crawler.export.exporter import Exporter
from crawler.export.sinks.amqp import AmqpSink, Words
from crawler.interfaces import Pace
from crawler.model import Done, Exported, Job, Request, Visit
from tests.memory import MemoryFrontier, Noticed
from tests.rabbitmq import RabbitMQ, needs_rabbitmq

pytestmark = needs_rabbitmq

PACE = Pace(delay=0.0, concurrency=1000)


@pytest.fixture
async def channel(broker: RabbitMQ) -> AsyncIterator[AbstractChannel]:
    async with await broker.connect() as connection:
        yield await connection.channel()


async def with_items(frontier: MemoryFrontier, pages: int, spider: str = "shop") -> Job:
    """A job with two items a page in its outbox."""
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{n}", spider=spider) for n in range(pages)], seed=True)
    leases = (await frontier.claim("w1", pages, [job], PACE)).leases
    visits = [(lease, Visit(Done(), items=(b'{"n":1}', b'{"n":2}'))) for lease in leases]
    await frontier.commit("w1", visits, PACE)
    return job


def at(broker: RabbitMQ, seconds: float = 10) -> Broker:
    return Broker(Address("amqp", (("127.0.0.1", broker.port),)), "t", seconds)


def exporter(
    frontier: MemoryFrontier, job: Job, broker: RabbitMQ, words: Words, *, patient: bool = False, seconds: float = 10
) -> Exporter:
    sink = AmqpSink(at(broker, seconds), words, job)
    return Exporter(frontier.jobs, frontier, [sink], job, name="x", batch=10, lease_seconds=15, patient=patient)


async def bound(channel: AbstractChannel, exchange: str, key: str = "#") -> str:
    """A durable queue that gets what the exchange gets."""
    made = await channel.declare_exchange(exchange, "topic", durable=True)
    queue = await channel.declare_queue(f"{exchange}.all", durable=True)
    await queue.bind(made, key)
    return queue.name


async def contents(broker: RabbitMQ, name: str) -> list[AbstractIncomingMessage]:
    """All messages in the queue now."""
    async with await broker.connect() as connection:
        queue = await (await connection.channel()).get_queue(name)
        messages = []
        while message := await queue.get(fail=False, no_ack=True):
            messages.append(message)
        return messages


async def test_each_item_is_a_persistent_message_with_id_key_and_headers(
    broker: RabbitMQ, channel: AbstractChannel
) -> None:
    queue = await bound(channel, "one")
    frontier = MemoryFrontier()
    job = await with_items(frontier, 3)
    out = exporter(frontier, job, broker, Words("one"))
    await out.run(asyncio.Event())
    messages = await contents(broker, queue)
    assert (out.items, len(messages), (await frontier.stats(job)).outbox) == (6, 6, 0)
    assert len({message.message_id for message in messages}) == 6
    first = messages[0]
    assert (first.body, first.routing_key, first.delivery_mode) == (b'{"n":1}', "shop.a.example", 2)
    assert first.headers == {"job": "news", "spider": "shop", "url": "http://a.example/0"}
    assert (first.message_id or "").startswith(f"{job.epoch}.0.")


async def test_an_item_that_no_queue_takes_waits_and_the_others_are_not_sent_again(
    broker: RabbitMQ, channel: AbstractChannel
) -> None:
    queue = await bound(channel, "two", "shop.#")
    frontier = MemoryFrontier()
    await with_items(frontier, 2)
    job = await with_items(frontier, 4, "news")  # two of these are known
    out = exporter(frontier, job, broker, Words("two", "{spider}.{job}"))
    with pytest.raises(OutputError, match=r"no queue takes messages with the key 'news\.news': bind one"):
        await out.run(asyncio.Event())
    assert (await frontier.stats(job)).outbox == 4
    made = await channel.get_exchange("two")
    await (await channel.get_queue(queue)).bind(made, "news.#")
    await exporter(frontier, job, broker, Words("two", "{spider}.{job}")).run(asyncio.Event())
    ids = Counter(message.message_id for message in await contents(broker, queue))
    assert (len(ids), (await frontier.stats(job)).outbox) == (8, 0)


@pytest.mark.parametrize("seconds", [10.0, 0.5])
async def test_a_broker_that_is_killed_or_silent_in_the_middle_loses_nothing(
    broker: RabbitMQ, channel: AbstractChannel, seconds: float
) -> None:
    queue = await bound(channel, f"three{seconds}")
    frontier = Noticed()
    job = await with_items(frontier, 300)
    out = exporter(frontier, job, broker, Words(f"three{seconds}"), patient=True, seconds=seconds)
    running = asyncio.create_task(out.run(asyncio.Event(), until=lambda: True))
    await frontier.some_are_sent.wait()
    if seconds < 1:
        await asyncio.to_thread(broker.freeze, 1.0)
    else:
        broker.kill()  # in this thread, so that the exporter cannot be done before
        assert 0 < (await frontier.stats(job)).outbox < 300
        await asyncio.to_thread(broker.start)
    await running
    ids = Counter(message.message_id for message in await contents(broker, queue))
    assert (len(ids), (await frontier.stats(job)).outbox) == (600, 0)


async def test_a_memory_alarm_is_waited_out(broker: RabbitMQ, channel: AbstractChannel) -> None:
    queue = await bound(channel, "alarm")
    frontier = MemoryFrontier()
    job = await with_items(frontier, 10)
    await asyncio.to_thread(broker.alarm, True)
    try:
        with pytest.raises(OutputError, match=r"no answer to publish within 0\.5 s; a memory or disk alarm"):
            await exporter(frontier, job, broker, Words("alarm"), seconds=0.5).run(asyncio.Event())
        assert (await frontier.stats(job)).outbox == 10
        running = asyncio.create_task(
            exporter(frontier, job, broker, Words("alarm"), patient=True, seconds=5).run(asyncio.Event())
        )
    finally:
        await asyncio.to_thread(broker.alarm, False)
    await running
    assert len({message.message_id for message in await contents(broker, queue)}) == 20


async def test_a_queue_that_is_full_and_refuses_is_not_taken_for_a_missing_binding(
    broker: RabbitMQ, channel: AbstractChannel
) -> None:
    await channel.declare_queue("full", durable=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    frontier = MemoryFrontier()
    job = await with_items(frontier, 5)
    with pytest.raises(OutputError, match="a queue refuses the message"):
        await exporter(frontier, job, broker, Words("", "full")).run(asyncio.Event())
    assert (await frontier.stats(job)).outbox == 5


async def test_an_exchange_that_does_not_exist(broker: RabbitMQ) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 1)
    with pytest.raises(ConfigError, match="no exchange 'nowhere'"):
        await exporter(frontier, job, broker, Words("nowhere")).run(asyncio.Event())


async def test_items_that_went_elsewhere_are_not_split(broker: RabbitMQ) -> None:
    job = replace(Job("news"), epoch="e")
    sink = AmqpSink(at(broker), Words(""), job)
    with pytest.raises(OutputError, match=r"went to /data/items\.jsonl"):
        await sink.open(Exported({0: "1-0"}, "/data/items.jsonl"))


def test_the_words_of_the_url() -> None:
    _, words = read("amqp://h/?exchange=items&key={spider}.{host}", Words)
    assert words == Words("items")
    with pytest.raises(ConfigError, match=r": key: no place \{hots\}; there are \{spider\}, \{host\}, \{job\}$"):
        read("amqp://h/?exchange=items&key={hots}", Words)
