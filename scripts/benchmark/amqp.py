"""Measure RabbitMQ: CPU of client and broker for a message with the least that any client needs, for a URL that comes
in by `crawler seed --from`, and for an item that goes out by `crawler export -o`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractQueue
from msgspec.json import encode

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.model import Done, Job, Visit
from scripts.benchmark.contenders import ROOT
from scripts.benchmark.process import cores, cpu_of, run
from scripts.benchmark.queue import BATCH, PACE, fill, request, tell
from tests.rabbitmq import RabbitMQ
from tests.valkey import Valkey

WINDOW = 1_000  # messages that wait for their confirms at once; also the prefetch
QUEUE = "bench"
TEXT = "x" * 300  # of an item


class Cost:
    """CPU that this process and the broker used, in µs a message."""

    def __init__(self) -> None:
        self.client: list[float] = []
        self.broker: list[float] = []

    @contextmanager
    def of(self, broker: RabbitMQ, messages: int) -> Iterator[None]:
        """Measure what is done in the block with so many messages."""
        client, beam = time.process_time(), _cpu(broker)
        yield
        self.client.append((time.process_time() - client) / messages * 1e6)
        self.broker.append((_cpu(broker) - beam) / messages * 1e6)

    def __str__(self) -> str:
        return f"client {median(self.client):.0f} µs, broker {median(self.broker):.0f} µs CPU"


def main(messages: int, repeat: int) -> int:
    """Start a broker and measure on it; each figure is the median of the rounds."""
    server_core, client_core = cores()
    with RabbitMQ() as broker:
        if server_core is not None and client_core is not None:
            os.sched_setaffinity(0, {client_core})
            for pid in broker.pids:
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(task), {server_core})
        asyncio.run(_measure(broker, messages, repeat))
        told, arguments = f"new {messages:,},", ["seed", "--from", f"{broker.url}?queue={QUEUE}"]
        cost = _measure_command(broker, messages, repeat, arguments, _fill_queue, told)
        tell("seed --from: a URL in, start of the command included", cost)
        told, arguments = f"{messages:,} items", ["export", "-o", f"{broker.url}?exchange=&key={QUEUE}"]
        cost = _measure_command(broker, messages, repeat, arguments, _fill_outbox, told)
        tell("export -o: an item out, start of the command included", cost)
    return 0


async def _measure(broker: RabbitMQ, messages: int, repeat: int) -> None:
    bodies = _bodies(messages)
    publishing, consuming = Cost(), Cost()
    for _ in range(repeat):
        async with _channel(broker) as (channel, queue):
            with publishing.of(broker, messages):
                await _publish(channel, bodies)
            with consuming.of(broker, messages):
                await _consume(queue, messages)
    tell("publish a URL, persistent, confirmed", str(publishing))
    tell("consume and acknowledge it", str(consuming))


def _measure_command(
    broker: RabbitMQ,
    messages: int,
    repeat: int,
    arguments: Sequence[str],
    prepare: Callable[[RabbitMQ, Valkey, int], Coroutine[Any, Any, None]],
    told: str,
) -> str:
    """Run a command between a broker and a queue server, on which `prepare` has put the messages or items. `told` is
    what the command prints in the end."""
    server_core, client_core = cores()
    costs: list[tuple[float, float, float]] = []
    for _ in range(repeat):
        with Valkey(appendonly=True, fsync="everysec") as server, TemporaryDirectory() as folder:
            if server_core is not None:
                os.sched_setaffinity(server.pid, {server_core})
            asyncio.run(prepare(broker, server, messages))
            beam, valkey = _cpu(broker), cpu_of(server.pid)
            used = run(
                [sys.executable, "-P", "-m", "crawler", *arguments],
                core=client_core,
                folder=Path(folder),
                environment={"PYTHONPATH": str(ROOT), "REDIS_URL": server.url},
            )
            costs.append((used.cpu, _cpu(broker) - beam, cpu_of(server.pid) - valkey))
            said = (Path(folder) / "output").read_text()
            if used.code or told not in said:
                raise RuntimeError(said)
        broker.control("purge_queue", QUEUE)
    client, beam, valkey = (median(column) / messages * 1e6 for column in zip(*costs, strict=True))
    return f"client {client:.0f} µs, broker {beam:.0f} µs, queue server {valkey:.0f} µs CPU"


async def _fill_queue(broker: RabbitMQ, server: Valkey, messages: int) -> None:
    async with _channel(broker) as (channel, _):
        await _publish(channel, _bodies(messages))


async def _fill_outbox(broker: RabbitMQ, server: Valkey, items: int) -> None:
    """One item a page."""
    async with open_redis(Server(server.url), outbox_limit=items + BATCH) as frontier:
        job = await frontier.jobs.create(Job("default"))
        await fill(frontier, job, items)
        done = 0
        while done < items:
            claim = await frontier.queue.claim("w", BATCH, [job], PACE)
            found = [
                (one, Visit(Done(), items=(encode({"url": one.request.url, "text": TEXT}),))) for one in claim.leases
            ]
            await frontier.queue.commit("w", found, PACE)
            done += len(found)


def _bodies(messages: int) -> list[bytes]:
    return [request(number, 1_000).url.encode() for number in range(messages)]


@asynccontextmanager
async def _channel(broker: RabbitMQ) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    connection = await broker.connect()
    try:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=WINDOW)
        yield channel, await channel.declare_queue(QUEUE, durable=True)
    finally:
        await connection.close()


async def _publish(channel: AbstractChannel, bodies: Sequence[bytes]) -> None:
    exchange = channel.default_exchange
    for at in range(0, len(bodies), WINDOW):
        messages = [
            aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for body in bodies[at : at + WINDOW]
        ]
        await asyncio.gather(*(exchange.publish(message, QUEUE) for message in messages))


async def _consume(queue: AbstractQueue, messages: int) -> None:
    """Acknowledge half a window at a time."""
    got, step = 0, WINDOW // 2
    async with queue.iterator() as deliveries:
        async for delivery in deliveries:
            got += 1
            if got % step == 0 or got == messages:
                await delivery.ack(multiple=True)
            if got == messages:
                return


def _cpu(broker: RabbitMQ) -> float:
    return sum(map(cpu_of, broker.pids))
