"""What a broker answers, refuses or leaves unanswered becomes one of the crawler's errors."""

from __future__ import annotations

import asyncio
import gc
import signal

import pytest
from msgspec.structs import replace

from crawler.amqp.address import Address, Broker
from crawler.amqp.connection import connect, version, within
from crawler.errors import BrokerUnavailable, ConfigError
from tests.rabbitmq import RabbitMQ, needs_rabbitmq

pytestmark = needs_rabbitmq


def at(broker: RabbitMQ, seconds: float = 10) -> Broker:
    return Broker(Address("amqp", (("127.0.0.1", broker.port),)), "t", seconds)


async def test_the_first_host_that_answers_is_taken(broker: RabbitMQ) -> None:
    both = Broker(Address("amqp", (("127.0.0.1", 1), ("127.0.0.1", broker.port))), "t", 10)
    async with await connect(both) as connection:
        assert version(connection) >= (3, 0)


async def test_none_answers() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1: connection refused; 127\.0\.0\.1:2: "):
        await connect(Broker(Address("amqp", (("127.0.0.1", 1), ("127.0.0.1", 2))), "t", 10))


async def test_a_connection_that_failed_may_be_collected_in_any_thread() -> None:
    """pytest fails this test if that warns of a coroutine that was never awaited."""
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(BrokerUnavailable):
            await connect(Broker(Address("amqp", (("127.0.0.1", 1),)), "t", 10))
        await asyncio.to_thread(gc.collect)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"password": "s3cret"}, "refuses the login of 'guest'"), ({"vhost": "nowhere"}, "has no vhost 'nowhere'")],
)
async def test_a_login_or_vhost_that_it_refuses(broker: RabbitMQ, changes: dict[str, str], said: str) -> None:
    where = at(broker)
    with pytest.raises(ConfigError, match=said) as refused:
        await connect(replace(where, address=replace(where.address, **changes)))
    assert "s3cret" not in str(refused.value)


async def test_a_queue_that_does_not_exist(broker: RabbitMQ) -> None:
    where = at(broker)
    async with await connect(where) as connection:
        channel = await connection.channel()
        with pytest.raises(ConfigError, match=r"declare q: .*no queue 'q'"):
            async with within(where, "declare q"):
                await channel.declare_queue("q", passive=True)


async def test_one_that_does_not_answer(broker: RabbitMQ) -> None:
    where = at(broker)
    connection = await connect(where)
    channel = await connection.channel()
    broker.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnavailable, match=r"no answer to declare within 0\.2 s"):
            async with within(at(broker, 0.2), "declare"):
                await channel.declare_queue("x")
        with pytest.raises(BrokerUnavailable, match="does not answer within"):
            await connect(at(broker, 0.2))
    finally:
        broker.signal(signal.SIGCONT)
        await connection.close()


async def test_a_connection_that_ends_while_something_is_asked(broker: RabbitMQ) -> None:
    where = at(broker)
    connection = await connect(where)
    channel = await connection.channel()
    broker.signal(signal.SIGSTOP)

    async def ask() -> None:
        async with within(at(broker, 60), "declare"):
            asked = asyncio.create_task(channel.declare_queue("x"))
            await asyncio.to_thread(broker.kill)
            await asked

    try:
        with pytest.raises(BrokerUnavailable):
            await ask()
    finally:
        await connection.close()
        broker.start()
