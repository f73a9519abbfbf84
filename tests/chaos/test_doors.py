"""P34: a door keeps the promises of the frontier. Messages come in, and items go out, while everything is killed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import aio_pika
import pytest
import redis

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Pace
from crawler.model import Done, Job, Lease, Request, Visit
from tests.chaos.fleet import Command, resident_mb, until
from tests.chaos.proxy import Proxy, proxy_to
from tests.chaos.stage import Stage, Theatre
from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.valkey import Valkey

TIMEOUT = 1.0  # BROKER_TIMEOUT
SILENCE = 3.0  # longer than that
CHUNK = 200


class Harm:
    """What happens to a broker, and to the network in front of it."""

    def __init__(self, stage: Stage, broker: RabbitMQ, network: Proxy) -> None:
        self.stage = stage
        self.broker = broker
        self.network = network

    async def kill_the_broker(self) -> None:
        """SIGKILL to the broker; it starts again on its data."""
        self.stage.fault("kill -9 of the broker")
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)

    async def silence_the_broker(self) -> None:
        """The broker keeps its connections and answers nothing for longer than anybody waits."""
        self.stage.fault("the broker is frozen")
        await asyncio.to_thread(self.broker.freeze, SILENCE)

    async def alarm(self) -> None:
        """A memory alarm blocks all who publish, and so whoever moves bad messages: for a minute in the long form."""
        self.stage.fault("memory alarm of the broker")
        await asyncio.to_thread(self.broker.alarm, True)
        await asyncio.sleep(60 if self.stage.scale.is_long else SILENCE)
        await asyncio.to_thread(self.broker.alarm, False)

    async def black_hole(self) -> None:
        """Nothing arrives on either side, and no connection ends, for longer than anybody waits."""
        self.stage.fault("black hole")
        self.network.cut()
        await asyncio.sleep(SILENCE)
        self.network.heal()

    async def lose_replies(self) -> None:
        """What is sent arrives, and no confirmation, message or answer comes back; then the connections are reset."""
        self.stage.fault("replies lost")
        self.network.lose_replies()
        await asyncio.sleep(TIMEOUT / 2)
        self.network.heal()

    async def reset(self) -> None:
        """RST to all connections."""
        self.stage.fault("connections reset")
        self.network.reset()


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

    def __init__(self, stage: Stage, broker: RabbitMQ, network: Proxy, urls: Sequence[str]) -> None:
        prefetch = 1000 if stage.scale.is_long else 50
        where = f"{_behind(network)}?queue=urls&rejected=bad&declare=classic&prefetch={prefetch}"
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
            async with asyncio.timeout(10), await self.broker.connect() as connection:
                channel = await connection.channel()
                await channel.declare_queue("urls", durable=True, arguments={"x-queue-type": "classic"})
                messages = [aio_pika.Message(body, delivery_mode=2) for body in bodies]
                await asyncio.gather(*(channel.default_exchange.publish(message, "urls") for message in messages))
                return True
        await asyncio.sleep(0.2)  # until the broker is back
        return False

    def left(self, queue: str) -> int:
        """How many messages the broker still has there. It takes seconds, in which the network must go on."""
        told = self.broker.control("list_queues", "name", "messages")
        return next(int(line.split()[1]) for line in told.splitlines() if line.split()[:1] == [queue])


def _behind(network: Proxy) -> str:
    """The broker's URL for who meets it through this network."""
    return f"amqp://guest:guest@127.0.0.1:{network.port}/"


@needs_rabbitmq
async def test_p34_door_in(theatre: Theatre) -> None:
    """Seeder, broker and queue server are killed by turns, the broker is frozen and short of memory, the network fails:
    each URL once."""
    with RabbitMQ() as broker:
        async with (
            proxy_to(broker.port) as network,
            theatre("P34", "RabbitMQ in: everything killed", settings={"BROKER_TIMEOUT": TIMEOUT}) as stage,
        ):
            number = 100_000 if stage.scale.is_long else 4_000
            door = RabbitDoor(stage, broker, network, [f"http://127.0.0.{n % 50 + 1}:9/{n}" for n in range(number)])
            await door.open()
            harm_of = Harm(stage, broker, network)
            harm: list[Callable[[], Awaitable[None]]] = [
                door.kill_the_seeder,
                harm_of.kill_the_broker,
                stage.kill_the_server,
                harm_of.silence_the_broker,
                harm_of.alarm,
                harm_of.black_hole,
                harm_of.lose_replies,
                harm_of.reset,
            ]
            publishing = asyncio.create_task(door.publish())
            faults = stage.scale.faults if stage.scale.is_long else len(harm)
            for turn, share in enumerate(stage.moments(faults)):
                await until(lambda share=share: door.known() >= share * number, "messages", 120)  # type: ignore[misc]
                await harm[turn % len(harm)]()
            await publishing
            await until(lambda: door.known() >= number, "all URLs", 120)
            async with asyncio.timeout(60):  # for the last acknowledgement
                while await asyncio.to_thread(door.left, "urls"):
                    pass
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


class DoorOut:
    """A command that sends items of the stage's queue server, which nobody crawls, to a broker."""

    def __init__(self, stage: Stage, broker: RabbitMQ, where: str) -> None:
        self.stage = stage
        self.broker = broker
        self.where = where
        self.exporter: Command | None = None

    async def fill(self, pages: int) -> None:
        """Put two items of each page into the outbox, which need not fit the limit at which a crawl waits."""
        async with open_redis(Server(self.stage.server.url), outbox_limit=pages) as frontier:
            job = await frontier.jobs.create(Job("default"))
            for at in range(0, pages, 500):
                requests = [Request(f"http://127.0.0.1:9/{n}") for n in range(at, at + 500)]
                await frontier.adding.add(job, requests, seed=True)
                leases = (await frontier.queue.claim("w1", 500, [job], AT_ONCE)).leases
                assert len(leases) == 500
                visits = [(one, Visit(Done(), items=(_item(one, 0), _item(one, 1)))) for one in leases]
                await frontier.queue.commit("w1", visits, AT_ONCE)

    async def open(self) -> None:
        """Start the command, which waits until the right of one that was killed has ended."""
        self.exporter = await self.stage.fleet.run("export", "-o", self.where, "--follow")

    def left(self) -> int:
        """How many pages are in the outbox."""
        with suppress(Exception):  # it may be down
            return int(self.stage.queue.xlen("{crawler:0}:job:default:outbox"))
        return 1

    async def kill_the_exporter(self) -> None:
        """SIGKILL to the command; another one takes its place."""
        assert self.exporter is not None
        self.stage.fault("kill -9 of export -o")
        self.exporter.kill()
        await self.exporter.ended()
        await self.open()

    async def messages(self, least: int) -> list[tuple[str, bytes]]:
        """Id and body of all messages in the queue or stream, once `least` different ones have come."""
        found: list[tuple[str, bytes]] = []
        async with await self.broker.connect() as connection, connection.channel() as channel:
            await channel.set_qos(prefetch_count=1000)
            queue = await channel.get_queue("items")
            done, loop = asyncio.Event(), asyncio.get_running_loop()

            async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                overdue.reschedule(loop.time() + 60)
                found.append((message.message_id or "", message.body))
                if message.body == b"end":
                    done.set()
                await message.ack()

            await channel.default_exchange.publish(aio_pika.Message(b"end"), "items")
            async with asyncio.timeout(60) as overdue:
                await queue.consume(take, arguments={"x-stream-offset": "first"} if "stream=" in self.where else None)
                await done.wait()
        assert len({id_ for id_, _ in found}) >= least
        return [one for one in found if one[1] != b"end"]


def _item(lease: Lease, number: int) -> bytes:
    return b'{"url":"%s","n":%d}' % (lease.request.url.encode(), number)


AT_ONCE = Pace(delay=0.0, concurrency=10_000)


@needs_rabbitmq
@pytest.mark.parametrize("kind", ["exchange", "stream"])
async def test_p34_door_out(theatre: Theatre, kind: str) -> None:
    """Exporter, broker and queue server are killed by turns, the broker is frozen, and the network fails: no item is
    lost, and each has one id; in a stream, each is there once."""
    settings = {"BROKER_TIMEOUT": TIMEOUT, "EXPORT_BATCH": 50, "LEASE_SECONDS": 2}
    with RabbitMQ(streams=True) as broker:
        port = {"exchange": broker.port, "stream": broker.stream_port}[kind]
        async with await broker.connect() as connection, connection.channel() as channel:
            of_kind: dict[str, Any] = {"x-queue-type": "stream" if kind == "stream" else "classic"}
            await channel.declare_queue("items", durable=True, arguments=of_kind)
        title = f"RabbitMQ out ({kind}): everything killed"
        async with proxy_to(port) as network, theatre("P34", title, settings=settings) as stage:
            where = {
                "exchange": f"{_behind(network)}?exchange=&key=items",
                "stream": f"{broker.url}?stream=items&stream_port={network.port}",
            }[kind]
            pages = 50_000 if stage.scale.is_long else 3_000
            door = DoorOut(stage, broker, where)
            await door.fill(pages)
            await door.open()
            harm_of = Harm(stage, broker, network)
            harm: list[Callable[[], Awaitable[None]]] = [
                door.kill_the_exporter,
                harm_of.kill_the_broker,
                stage.kill_the_server,
                harm_of.silence_the_broker,
                harm_of.alarm,
            ]
            if kind == "exchange":  # a client of streams connects to the address that the broker tells it
                harm += [harm_of.black_hole, harm_of.lose_replies, harm_of.reset]
            faults = stage.scale.faults if stage.scale.is_long else len(harm)
            for turn, share in enumerate(stage.moments(faults)):
                rest = (1 - share) * pages
                await until(lambda rest=rest: door.left() <= rest, "items", 120)  # type: ignore[misc]
                await harm[turn % len(harm)]()
            await until(lambda: not door.left(), "all items", 120)
            assert door.exporter is not None
            resident = resident_mb(door.exporter.pid)
            found = await door.messages(pages * 2)
            ids, row = Counter(id_ for id_, _ in found), stage.row
            row.told("items", pages * 2)
            row.told("faults", len(row.faults))
            row.exactly("lost", pages * 2 - len({body for _, body in found}), 0)
            row.exactly("items with two ids", len(ids) - len({body for _, body in found}), 0)
            if kind == "stream":
                row.exactly("twice in the stream", len(found) - len(ids), 0)
            else:
                row.told("sent again", len(found) - len(ids))
            row.at_most("exporter MB", resident, 150)
