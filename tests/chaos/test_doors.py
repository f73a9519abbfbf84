"""P34: a door keeps the promises of the frontier. Messages come in while everything is killed by turns."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import aio_pika
import pytest
import redis

from tests.chaos.fleet import Command, resident_mb, until
from tests.chaos.stage import Stage, Theatre
from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.valkey import Valkey

TIMEOUT = 1.0  # BROKER_TIMEOUT
SILENCE = 3.0  # longer than that
CHUNK = 200


class Door:
    """A command that takes messages from a source into the stage's queue server, which nobody crawls."""

    def __init__(self, stage: Stage, where: str, urls: Sequence[str]) -> None:
        self.stage = stage
        self.where = where
        self.urls = urls
        self.seeder: Command | None = None

    async def open(self) -> None:
        """Start the command, and return when it is at work: one that meets a broker on its way down ends at once."""
        while self.seeder is None or self.seeder.code is not None:
            started = self.seeder = await self.stage.fleet.run("seed", "--from", self.where, "--follow")
            await until(lambda one=started: one.code is not None or self._is_present(one), "seeder")  # type: ignore[misc]

    def _is_present(self, seeder: Command) -> bool:
        names = self.stage.queue.zrange("{crawler:0}:job:default:seeders", 0, -1)
        return any(f":{seeder.pid}:".encode() in name for name in names)

    async def kill_the_seeder(self) -> None:
        """SIGKILL to the command; another one takes its place."""
        assert self.seeder is not None
        self.stage.fault("kill -9 of seed --from")
        self.seeder.kill()
        await self.seeder.ended()
        await self.open()

    def known(self) -> int:
        """How many requests the queue server has admitted."""
        with suppress(Exception):  # it may be down
            return int(self.stage.queue.hget("{crawler:0}:job:default:stats", "admitted") or 0)
        return 0

    def pending(self) -> Counter[str]:
        """Each URL in the pending lists, and how often."""
        lists = self.stage.queue.scan_iter(match="*:pending:*", count=10_000)
        return Counter(json.loads(one)[5] for name in lists for one in self.stage.queue.lrange(name, 0, -1))

    def judge(self, set_aside: int) -> None:
        """Each URL once; each bad message where bad ones go."""
        found, row = self.pending(), self.stage.row
        row.told("URLs", len(self.urls))
        row.told("faults", len(row.faults))
        row.exactly("lost", len(self.urls) - len(found), 0)
        row.exactly("twice", sum(found.values()) - len(found), 0)
        row.exactly("foreign", len(found.keys() - set(self.urls)), 0)
        row.at_least("junk set aside", set_aside, len(self.urls) // 100)
        assert self.seeder is not None
        row.at_most("seeder MB", resident_mb(self.seeder.pid), 150)


class RabbitDoor(Door):
    """From a broker, whose queue `urls` is filled meanwhile."""

    def __init__(self, stage: Stage, broker: RabbitMQ, urls: Sequence[str]) -> None:
        prefetch = 1000 if stage.scale.is_long else 50
        where = f"{broker.url}?queue=urls&rejected=bad&declare=classic&prefetch={prefetch}"
        super().__init__(stage, where, urls)
        self.broker = broker

    async def publish(self) -> None:
        """Send each URL until the broker has confirmed it, and every hundredth one as junk besides."""
        for at in range(0, len(self.urls), CHUNK):
            part = [url.encode() for url in self.urls[at : at + CHUNK]]
            part += [b'{"bogus": "%b"}' % url for url in part[::100]]
            while not await self._sent(part):
                pass

    async def _sent(self, bodies: Sequence[bytes]) -> bool:
        with suppress(Exception):  # whatever it is, the broker has not confirmed
            async with asyncio.timeout(10), await aio_pika.connect(self.broker.url) as connection:
                channel = await connection.channel()
                await channel.declare_queue("urls", durable=True, arguments={"x-queue-type": "classic"})
                messages = [aio_pika.Message(body, delivery_mode=2) for body in bodies]
                await asyncio.gather(*(channel.default_exchange.publish(message, "urls") for message in messages))
                return True
        await asyncio.sleep(0.2)  # until the broker is back
        return False

    async def kill_the_broker(self) -> None:
        """SIGKILL to the broker; it starts again on its data."""
        self.stage.fault("kill -9 of the broker")
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)

    async def silence_the_broker(self) -> None:
        """The broker keeps its connections and answers nothing for longer than anybody waits."""
        self.stage.fault("the broker is frozen")
        self.broker.signal(signal.SIGSTOP)
        await asyncio.sleep(SILENCE)
        self.broker.signal(signal.SIGCONT)

    async def alarm(self) -> None:
        """A memory alarm blocks all who publish, and so whoever moves bad messages."""
        self.stage.fault("memory alarm of the broker")
        await asyncio.to_thread(self.broker.alarm, True)
        await asyncio.sleep(SILENCE)
        await asyncio.to_thread(self.broker.alarm, False)

    def left(self, queue: str) -> int:
        """How many messages the broker still has there."""
        told = self.broker.control("list_queues", "name", "messages")
        return next(int(line.split()[1]) for line in told.splitlines() if line.split()[:1] == [queue])


@needs_rabbitmq
async def test_p34_door_in(theatre: Theatre) -> None:
    """Seeder, broker and queue server are killed by turns, the broker is frozen and short of memory: each URL once."""
    with RabbitMQ() as broker:
        async with theatre("P34", "RabbitMQ in: everything killed", settings={"BROKER_TIMEOUT": TIMEOUT}) as stage:
            number = 100_000 if stage.scale.is_long else 4_000
            door = RabbitDoor(stage, broker, [f"http://127.0.0.{n % 50 + 1}:9/{n}" for n in range(number)])
            await door.open()
            harm: list[Callable[[], Awaitable[None]]] = [
                door.kill_the_seeder,
                door.kill_the_broker,
                stage.kill_the_server,
                door.silence_the_broker,
                door.alarm,
            ]
            publishing = asyncio.create_task(door.publish())
            faults = stage.scale.faults if stage.scale.is_long else 5
            for turn, share in enumerate(stage.moments(faults)):
                await until(lambda share=share: door.known() >= share * number, "messages", 120)  # type: ignore[misc]
                await harm[turn % len(harm)]()
            await publishing
            await until(lambda: door.known() >= number, "all URLs", 120)
            await until(lambda: not door.left("urls"), "the last acknowledgement", 60)
            door.judge(door.left("bad"))


@pytest.mark.long
async def test_p34_list_in(theatre: Theatre) -> None:
    """A list as scrapy-redis has it: seeder, the server of the list and the queue server are killed by turns."""
    with Valkey(appendonly=True) as source:
        async with theatre("P34", "Redis list in: everything killed") as stage:
            number = 100_000
            urls = [f"http://127.0.0.{n % 50 + 1}:9/{n}" for n in range(number)]
            with redis.Redis.from_url(source.url) as client:
                client.rpush("urls", *urls, *("{}" for _ in range(number // 100)))
            door = Door(stage, f"{source.url}?list=urls&rejected=bad", urls)
            await door.open()

            async def kill_the_source() -> None:
                stage.fault("kill -9 of the source")
                await asyncio.to_thread(source.kill)
                await asyncio.to_thread(source.start)

            harm = [door.kill_the_seeder, kill_the_source, stage.kill_the_server]
            for turn, share in enumerate(stage.moments()):
                await until(lambda share=share: door.known() >= share * number, "messages", 120)  # type: ignore[misc]
                await harm[turn % len(harm)]()
            await until(lambda: door.known() >= number, "all URLs", 120)
            with redis.Redis.from_url(source.url) as client:
                await until(lambda: not client.exists("urls", "urls:taken"), "the last acknowledgement", 60)
                door.judge(client.llen("bad"))
