"""What a broker answers, refuses or leaves unanswered becomes one of the crawler's errors."""

from __future__ import annotations

import asyncio
import signal

import pytest

from crawler.amqp.address import Address
from crawler.amqp.connection import connect, version, within
from crawler.errors import BrokerUnavailable, ConfigError
from tests.rabbitmq import RabbitMQ, needs_rabbitmq

pytestmark = needs_rabbitmq


def address(broker: RabbitMQ, **changes: str) -> Address:
    return Address("amqp", (("127.0.0.1", broker.port),), **changes)


async def test_the_first_host_that_answers_is_taken(broker: RabbitMQ) -> None:
    both = Address("amqp", (("127.0.0.1", 1), ("127.0.0.1", broker.port)))
    async with await connect(both, name="t", seconds=10) as connection:
        assert version(connection) >= (3, 0)


async def test_none_answers() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1: connection refused; 127\.0\.0\.1:2: "):
        await connect(Address("amqp", (("127.0.0.1", 1), ("127.0.0.1", 2))), name="t", seconds=10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"password": "s3cret"}, "refuses the login of 'guest'"), ({"vhost": "nowhere"}, "has no vhost 'nowhere'")],
)
async def test_a_login_or_vhost_that_it_refuses(broker: RabbitMQ, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        await connect(address(broker, **changes), name="t", seconds=10)
    assert "s3cret" not in str(refused.value)


async def test_a_queue_that_does_not_exist(broker: RabbitMQ) -> None:
    where = address(broker)
    async with await connect(where, name="t", seconds=10) as connection:
        channel = await connection.channel()
        with pytest.raises(ConfigError, match=r"declare q: .*no queue 'q'"):
            async with within(where, 10, "declare q"):
                await channel.declare_queue("q", passive=True)


async def test_one_that_does_not_answer(broker: RabbitMQ) -> None:
    where = address(broker)
    connection = await connect(where, name="t", seconds=10)
    channel = await connection.channel()
    broker.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnavailable, match=r"no answer to declare within 0\.2 s"):
            async with within(where, 0.2, "declare"):
                await channel.declare_queue("x")
        with pytest.raises(BrokerUnavailable, match="does not answer within"):
            await connect(where, name="t", seconds=0.2)
    finally:
        broker.signal(signal.SIGCONT)
        await connection.close()


async def test_a_connection_that_ends_while_something_is_asked(broker: RabbitMQ) -> None:
    where = address(broker)
    connection = await connect(where, name="t", seconds=10)
    channel = await connection.channel()
    broker.signal(signal.SIGSTOP)

    async def ask() -> None:
        async with within(where, 60, "declare"):
            asked = asyncio.create_task(channel.declare_queue("x"))
            await asyncio.to_thread(broker.kill)
            await asked

    try:
        with pytest.raises(BrokerUnavailable):
            await ask()
    finally:
        await connection.close()
        broker.start()
