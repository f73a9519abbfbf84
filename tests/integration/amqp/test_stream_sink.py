"""Items end in a RabbitMQ stream exactly once: what is published again is not there a second time."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstream import AMQPMessage, Consumer, ConsumerOffsetSpecification, MessageContext, OffsetType, Producer
from rstream.amqp import amqp_decoder

from crawler.amqp.address import Address, Broker, read
from crawler.errors import ConfigError, OutputError
from crawler.export.exporter import Exporter
from crawler.export.sinks.rabbitmq_stream import PORTS, RabbitStreamSink, Words, number_of
from crawler.interfaces import Pace
from crawler.model import Done, Exported, Job, Request, Visit
from tests.memory import MemoryFrontier, Noticed
from tests.rabbitmq import RabbitMQ, needs_rabbitmq

# rstream leaves the streams of a broken connection to the garbage collector, which complains in the test of its choice:
# of the stream, or of its transport, or of its socket.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <(function (StreamWriter|_SelectorTransport)\.__del__|socket\.socket)"
    ":pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True, scope="module")
def garbage_is_collected_here() -> Iterator[None]:
    """After the last loop has closed."""
    yield
    gc.collect()


PACE = Pace(delay=0.0, concurrency=1000)


def pages(count: int) -> list[Request]:
    return [Request(f"http://a.example/{n}", spider="shop") for n in range(count)]


async def with_items(frontier: MemoryFrontier, count: int) -> Job:
    """A job with two items a page in its outbox."""
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, pages(count), seed=True)
    leases = (await frontier.claim("w1", count, [job], PACE)).leases
    visits = [(lease, Visit(Done(), items=(b'{"n":1}', b'{"n":2}'))) for lease in leases]
    await frontier.commit("w1", visits, PACE)
    return job


def sink(broker: RabbitMQ, job: Job, stream: str, seconds: float = 10) -> RabbitStreamSink:
    at = Broker(Address("amqp", (("127.0.0.1", broker.port),)), "t", seconds)
    return RabbitStreamSink(at, Words(stream, broker.stream_port), job)


def exporter(frontier: MemoryFrontier, job: Job, out: RabbitStreamSink, *, patient: bool = False) -> Exporter:
    return Exporter(frontier.jobs, frontier, [out], job, name="x", batch=10, lease_seconds=15, patient=patient)


def login(broker: RabbitMQ) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": broker.stream_port, "username": "guest", "password": "guest"}


async def made(broker: RabbitMQ, stream: str) -> None:
    async with Producer(**login(broker)) as producer:  # type: ignore[arg-type]
        await producer.create_stream(stream, exists_ok=True)


async def contents(broker: RabbitMQ, stream: str, least: int) -> list[AMQPMessage]:
    """All messages of the stream from its beginning, and what comes until one more was sent to mark the end."""
    async with Producer(**login(broker)) as producer:  # type: ignore[arg-type]
        await producer.send_wait(stream, AMQPMessage(body=b"end"))
    found: list[AMQPMessage] = []
    ended = asyncio.Event()

    async def take(message: AMQPMessage, context: MessageContext) -> None:
        if bytes(message.body or b"") == b"end":
            ended.set()
        else:
            found.append(message)

    consumer = Consumer(**login(broker))  # type: ignore[arg-type]
    await consumer.start()
    first = ConsumerOffsetSpecification(OffsetType.FIRST, None)
    await consumer.subscribe(stream, take, decoder=amqp_decoder, offset_specification=first)
    async with asyncio.timeout(30):
        await ended.wait()
    await consumer.close()
    assert len(found) >= least
    return found


@needs_rabbitmq
async def test_items_that_are_published_again_are_there_once(broker: RabbitMQ) -> None:
    """As after a crash between the confirm and the acknowledgement, three times."""
    await made(broker, "again")
    frontier = MemoryFrontier()
    job = await with_items(frontier, 50)
    entries = await frontier.read(job, {}, 100)
    for _ in range(3):
        out = sink(broker, job, "again")
        await out.open(Exported())
        assert await out.write(entries[:30]) == 60
        await out.close()
    await exporter(frontier, job, sink(broker, job, "again")).run(asyncio.Event())
    messages = await contents(broker, "again", 100)
    ids = Counter(message.properties.message_id for message in messages)
    assert (len(ids), set(ids.values()), (await frontier.stats(job)).outbox) == (100, {1}, 0)
    first = messages[0]
    assert first.application_properties == {b"job": b"news", b"spider": b"shop", b"url": b"http://a.example/0"}


@needs_rabbitmq
async def test_a_broker_that_is_killed_in_the_middle_loses_and_doubles_nothing(broker: RabbitMQ) -> None:
    await made(broker, "killed")
    frontier = Noticed()
    job = await with_items(frontier, 300)
    out = exporter(frontier, job, sink(broker, job, "killed", seconds=5), patient=True)
    running = asyncio.create_task(out.run(asyncio.Event()))
    await frontier.some_are_sent.wait()
    broker.kill()  # in this thread, so that the exporter cannot be done before
    assert 0 < (await frontier.stats(job)).outbox < 300
    await asyncio.to_thread(broker.start)
    await running
    ids = Counter(message.properties.message_id for message in await contents(broker, "killed", 600))
    assert (len(ids), set(ids.values()), (await frontier.stats(job)).outbox) == (600, {1}, 0)


@needs_rabbitmq
async def test_a_broker_that_is_killed_before_anything_is_published_is_waited_for(broker: RabbitMQ) -> None:
    await made(broker, "early")
    frontier = MemoryFrontier()
    job = await with_items(frontier, 20)
    out = exporter(frontier, job, sink(broker, job, "early", seconds=2), patient=True)
    running = asyncio.create_task(out.run(asyncio.Event()))
    await out.begun.wait()
    broker.kill()
    await asyncio.to_thread(broker.start)
    await running
    assert len(await contents(broker, "early", 40)) == 40


@needs_rabbitmq
async def test_a_login_that_the_broker_refuses(broker: RabbitMQ) -> None:
    wrong = Address("amqp", (("127.0.0.1", broker.port),), password="s3cret")
    out = RabbitStreamSink(Broker(wrong, "t", 10), Words("s", broker.stream_port), Job("news"))
    with pytest.raises(ConfigError, match="refuses the login") as refused:
        await out.open(Exported())
    assert "s3cret" not in str(refused.value)


@needs_rabbitmq
async def test_a_stream_that_does_not_exist_and_a_broker_that_does_not_answer(broker: RabbitMQ) -> None:
    job = Job("news")
    with pytest.raises(ConfigError, match="there is no such stream"):
        await sink(broker, job, "nowhere").open(Exported())
    away = RabbitStreamSink(Broker(Address("amqp", (("127.0.0.1", 1),)), "t", 10), Words("s", 1), job)
    with pytest.raises(OutputError, match="connection refused"):
        await away.open(Exported())


ORDER = st.tuples(st.integers(1_700_000_000_000, 2_000_000_000_000), st.integers(0, 10_000), st.integers(0, 99_999))


@given(ORDER, ORDER)
def test_numbers_grow_with_the_place_in_the_outbox(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    """Under one publisher: what comes later has a higher number, and nothing else has the same."""
    (name, first), (other_name, second) = (number_of(f"{ms}-{page}", item) for ms, page, item in (one, other))
    assert 0 <= first < 2**64
    if name == other_name:
        assert (one < other) is (first < second)
    else:
        assert one[0] >> 32 != other[0] >> 32 or one[1] >> 12 != other[1] >> 12


def test_the_words_of_the_url() -> None:
    assert read("amqp://h/?stream=items&stream_port=5553", Words)[1] == Words("items", 5553)
    assert PORTS == {"amqp": 5552, "amqps": 5551}
