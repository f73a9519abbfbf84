"""`seed --from`: each message is a seed once, though the command, the broker and the queue server are killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
import redis

from tests.acceptance.shell import Shell
from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.valkey import Valkey

URLS = 6_000


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    with RabbitMQ() as broker:
        yield broker


async def publish(broker: RabbitMQ, queue: str, bodies: list[bytes]) -> None:
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        await channel.declare_queue(queue, durable=True)
        for at in range(0, len(bodies), 500):
            messages = [aio_pika.Message(body, delivery_mode=2) for body in bodies[at : at + 500]]
            await asyncio.gather(*(channel.default_exchange.publish(message, queue) for message in messages))


async def count(broker: RabbitMQ, queue: str) -> int:
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        found = (await channel.declare_queue(queue, passive=True)).declaration_result
        return found.message_count or 0


@needs_rabbitmq
async def test_each_url_once_though_everything_is_killed(folder: Path, broker: RabbitMQ) -> None:
    with Valkey(appendonly=True) as server:
        shell = Shell(folder, {"REDIS_URL": server.url})
        where = f"{broker.url}?queue=urls&rejected=bad&declare=classic&prefetch=100"
        seeding = await shell.start("seed", "--from", where, "--follow")

        async def send(part: int) -> None:
            """Send a third of the URLs, and return when the command is at work on them."""
            urls = [b"http://host-%d.example/%d" % (number % 50, number) for number in range(part, URLS, 3)]
            await publish(broker, "urls", [b'{"part": %d}' % part, *urls])
            assert seeding.stderr is not None
            while b'{"part": %d}' % part not in await asyncio.wait_for(seeding.stderr.readline(), 60):
                assert seeding.returncode is None

        await send(0)
        broker.kill()
        broker.start()
        await send(1)
        server.kill()
        server.start()
        await send(2)
        seeding.kill()
        await seeding.wait()

        ended = await shell.run("seed", "--from", where)
        assert ended.code == 0, ended.err
        (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
        assert (job["known"], job["pending"]) == (URLS, URLS)
    assert await count(broker, "urls") == 0
    assert await count(broker, "bad") >= 3  # once more for each kill that came before its acknowledgement


@needs_rabbitmq
async def test_a_wrong_url_is_exit_78_and_a_broker_that_is_away_69(shell: Shell, broker: RabbitMQ) -> None:
    missing = await shell.run("seed", "--from", f"{broker.url}?queue=nowhere")
    assert (missing.code, "no queue nowhere" in missing.error) == (78, True)
    wrong = await shell.run("seed", "--from", "amqp://me:secret@host/?queues=urls")
    assert (wrong.code, "did you mean queue?" in wrong.error, "secret" in wrong.err) == (78, True, False)
    away = await shell.run("seed", "--from", "amqp://me:secret@127.0.0.1:1/?queue=urls")
    assert (away.code, "connection refused" in away.error, "secret" in away.err) == (69, True, False)


async def test_a_missing_extra_is_named(shell: Shell) -> None:
    (shell.folder / "aio_pika.py").write_text("raise ImportError")
    path = f"{shell.folder}:{shell.environment['PYTHONPATH']}"
    ended = await shell.run("seed", "--from", "amqp://host/?queue=urls", PYTHONPATH=path)
    assert (ended.code, "needs the extra `rabbitmq`" in ended.error) == (78, True)


async def test_options_that_do_not_fit_together_are_usage_errors(shell: Shell) -> None:
    for arguments, why in (
        (("--follow",), "need --from"),
        (("--idle", "5"), "need --from"),
        (("--from", "amqp://host/?queue=urls", "http://a.example/"), "either --from or URLs"),
    ):
        ended = await shell.run("seed", *arguments)
        assert (ended.code, why in ended.error) == (2, True)
    unknown = await shell.run("seed", "--from", "kafka://host/")
    assert (unknown.code, "expected one of amqp://" in unknown.error) == (78, True)


async def test_a_list_as_scrapy_redis_has_it(shell: Shell, server: Valkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.rpush("news:start_urls", "http://a.example/", '{"url": "http://b.example/", "priority": 3}', "{}")
    ended = await shell.run("seed", "--from", f"{server.url}?list=news:start_urls", "--strict")
    assert (ended.code, ended.out) == (3, "new 2, known 0, refused 1 (job default)\n")
    assert "refused {}: it has no url" in ended.err
