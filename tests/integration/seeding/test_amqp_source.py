"""A queue of RabbitMQ as a source: what is not settled comes again, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pamqp.common import FieldTable
from structlog.testing import capture_logs

from crawler.amqp.address import Broker, read
from crawler.errors import BrokerUnavailable, ConfigError
from crawler.interfaces import Delivery
from crawler.seeding.sources.amqp import AmqpSource, Words
from tests.rabbitmq import RabbitMQ, needs_rabbitmq

pytestmark = needs_rabbitmq


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    with RabbitMQ() as broker:
        yield broker


@asynccontextmanager
async def source(broker: RabbitMQ, words: str, seconds: float = 10) -> AsyncIterator[AmqpSource]:
    address, options = read(f"{broker.url}?{words}", Words)
    made = AmqpSource(Broker(address, "test", seconds), options)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def channel(broker: RabbitMQ) -> AsyncIterator[AbstractChannel]:
    async with await broker.connect() as connection, connection.channel() as opened:
        yield opened


async def publish(broker: RabbitMQ, queue: str, *bodies: bytes, priority: int = 0) -> None:
    async with channel(broker) as opened:
        await opened.declare_queue(queue, durable=True)
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=2, priority=priority)
            await opened.default_exchange.publish(message, queue)


async def all_of(reading: AmqpSource, wanted: int) -> list[Delivery]:
    """Take until that many have come."""
    taken: list[Delivery] = []
    while len(taken) < wanted:
        taken += await reading.take()
    return taken


async def test_prefetch_bounds_what_is_held_and_one_acknowledgement_ends_all(broker: RabbitMQ) -> None:
    await publish(broker, "bounded", b"1", b"2", b"3", priority=4)
    async with source(broker, "queue=bounded&prefetch=2") as reading:
        await reading.open()
        taken = await all_of(reading, 2)
        assert [(message.body, message.priority) for message in taken] == [(b"1", 4), (b"2", 4)]
        backlog = await reading.backlog()
        assert (backlog.messages, backlog.consumers) == (1, 1)
        await reading.settle(taken, [])
        assert [message.body for message in await reading.take()] == [b"3"]
    async with source(broker, "queue=bounded") as reading:  # only the unsettled one comes again
        taken = list(await reading.take())
        assert [message.body for message in taken] == [b"3"]
        await reading.settle(taken, [])
        assert await reading.take() == []


async def test_bad_messages_move_to_their_queue_with_the_reason(broker: RabbitMQ) -> None:
    await publish(broker, "in", b"bad", b"good")
    async with source(broker, "queue=in&rejected=in.rejected&declare=classic") as reading:
        taken = await all_of(reading, 2)
        await reading.settle(taken, [(taken[0], "why so")])
        assert await reading.take() == []
    async with channel(broker) as opened:
        found = await (await opened.get_queue("in.rejected")).get()
        assert (found.body, found.headers["why"], found.delivery_mode) == (b"bad", "why so", 2)
        assert (await opened.declare_queue("in", passive=True)).declaration_result.message_count == 0


async def test_without_a_queue_for_them_bad_messages_are_dead_lettered(broker: RabbitMQ) -> None:
    async with channel(broker) as opened:
        await opened.declare_queue("dead", durable=True)
        arguments: FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        await opened.declare_queue("lettered", durable=True, arguments=arguments)
        for body in (b"good", b"bad"):
            await opened.default_exchange.publish(aio_pika.Message(body), "lettered")
        async with source(broker, "queue=lettered") as reading:
            taken = await all_of(reading, 2)
            await reading.settle(taken, [(taken[1], "why so")])
            assert await reading.take() == []
        assert (await (await opened.get_queue("dead")).get(timeout=10)).body == b"bad"


async def test_a_bad_message_whose_queue_is_gone_stays_where_it_is(broker: RabbitMQ) -> None:
    await publish(broker, "kept", b"bad")
    async with source(broker, "queue=kept&rejected=lost&declare=classic") as reading:
        taken = await all_of(reading, 1)
        async with channel(broker) as opened:
            await opened.queue_delete("lost")
        with pytest.raises(BrokerUnavailable, match="queue lost"):
            await reading.settle(taken, [(taken[0], "why so")])
        taken = await all_of(reading, 1)  # declared anew
        await reading.settle(taken, [(taken[0], "why so")])
        assert await reading.take() == []


async def test_a_broker_that_was_killed_delivers_again(broker: RabbitMQ) -> None:
    await publish(broker, "urls", b"1", b"2")
    async with source(broker, "queue=urls") as reading:
        taken = await all_of(reading, 2)
        broker.kill()
        with pytest.raises(BrokerUnavailable):
            await asyncio.gather(reading.settle(taken, []), reading.take())
        broker.start()
        assert [message.body for message in await all_of(reading, 2)] == [b"1", b"2"]


async def test_a_broker_that_does_not_answer_is_away(broker: RabbitMQ) -> None:
    await publish(broker, "silent", b"1")
    async with source(broker, "queue=silent", seconds=0.5) as reading:
        await all_of(reading, 1)
        broker.signal(signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnavailable, match="no answer"):
                await reading.take()
        finally:
            broker.signal(signal.SIGCONT)
    async with source(broker, "queue=silent") as reading:
        assert [message.body for message in await all_of(reading, 1)] == [b"1"]


async def test_a_queue_that_does_not_exist_is_a_mistake_that_says_how(broker: RabbitMQ) -> None:
    async with source(broker, "queue=nowhere") as reading:
        with pytest.raises(ConfigError, match=r"no queue nowhere; make it, .* add &declare=classic"):
            await reading.open()


async def test_a_queue_that_somebody_deletes_is_a_mistake(broker: RabbitMQ) -> None:
    await publish(broker, "deleted")
    async with source(broker, "queue=deleted") as reading, channel(broker) as opened:
        assert await reading.take() == []
        await opened.queue_delete("deleted")
        with pytest.raises(ConfigError, match="no queue 'deleted'"):
            await reading.take()


async def test_an_old_broker_is_named_when_a_quorum_queue_is_wanted(broker: RabbitMQ) -> None:
    async with source(broker, "queue=quorum&declare=quorum") as reading:
        with capture_logs() as logs:
            await reading.open()
            await reading.open()
        assert await reading.take() == []
    warned = [one for one in logs if one["log_level"] == "warning"]
    old = [one for one in warned if tuple(map(int, one["version"].split("."))) < (4,)]
    assert len(warned) == len(old) <= 1
    assert [one["event"] for one in old] == ["broker_old"] * len(old)
