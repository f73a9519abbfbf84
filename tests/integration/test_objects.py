"""Items in an object store, on two real servers: killed exporters and servers, refused and lost requests, wrong
credentials. Each item is there once."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawler.errors import ConfigError, OutputError
from crawler.export.exporter import Exporter
from crawler.export.sinks.objects import Gathered, ObjectSink
from crawler.export.sinks.packing import PACKINGS
from crawler.model import Done, Exported, Job, OutboxEntry, Request, Visit
from crawler.runtime import object_store as store
from crawler.runtime.object_store import ObjectFolder
from tests.memory import MemoryFrontier
from tests.object_store import BUCKET, ENVIRONMENT, SECRET, Moto, Proxy, Rclone, Server, running
from tests.object_store import objects as objects_of
from tests.unit.export.test_exporter import PACE

FIRST = OutboxEntry(0, "1-0", (b'{"n":1,"t":"a"}', b'{"n":2}'))
SECOND = OutboxEntry(1, "1-1", (b'{"n":3,"t":1}',))
THIRD = OutboxEntry(0, "2-0", (b'{"n":4}',))
FOURTH = OutboxEntry(1, "2-0", (b'{"n":5}',))
NONE = Exported()

folders = (f"folder{number}" for number in count())


@pytest.fixture(scope="module", params=[Rclone, Moto])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param(tmp_path_factory.mktemp("objects"))) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that checks signatures."""
    with running(Rclone(tmp_path_factory.mktemp("strict"))) as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(store, "TRIES", 1)  # otherwise a test of a fault waits for the repetitions


@pytest.fixture
def folder() -> str:
    return next(folders)


def sink(
    endpoint: str, folder: str, ending: str = ".jsonl", epoch: str = "e1", bucket: str = BUCKET, **how: Any
) -> ObjectSink:
    where = ObjectFolder(f"s3://{bucket}/{folder}/items{ending}?endpoint={endpoint}", how.pop("seconds", 10))
    return ObjectSink(where, ending, PACKINGS[ending](), epoch, **how)


def write(made: ObjectSink, *entries: OutboxEntry, exported: Exported = NONE) -> dict[int, str]:
    """What an exporter does that comes, writes and goes; the positions it found."""
    found = dict(made.open(exported))
    if entries:
        made.write(entries)
    made.finish()
    made.close()
    return found


def numbers(server: Server, folder: str) -> list[int]:
    return [row["n"] for name, body in objects_of(server, folder).items() for row in rows(name, body)]


def rows(name: str, body: bytes) -> list[dict[str, Any]]:
    if name.endswith(".parquet"):
        return pq.read_table(BytesIO(body)).to_pylist()  # type: ignore[no-any-return]
    text = gzip.decompress(body) if name.endswith(".gz") else body
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("ending", PACKINGS)
def test_each_item_is_there_once_and_the_names_are_the_position(server: Server, folder: str, ending: str) -> None:
    made = sink(server.endpoint, folder, ending)
    assert made.open(NONE) == {}
    assert made.write([FIRST, SECOND]) == 3
    assert made.write([FIRST, SECOND]) == 0
    again = sink(server.endpoint, folder, ending)  # the first was killed
    assert again.open(NONE) == {0: "1-0", 1: "1-1"}
    assert again.write([SECOND, THIRD, FOURTH]) == 2
    again.finish()
    found = objects_of(server, folder)
    assert [row["n"] for name, body in found.items() for row in rows(name, body)] == [1, 2, 3, 4, 5]
    assert all(name.startswith("part-00000") and name.endswith(ending) for name in found)
    if ending == ".parquet":
        assert {str(pq.read_schema(BytesIO(body)).field("t").type) for body in found.values()} == {"string"}


@pytest.mark.parametrize("ending", PACKINGS)
def test_the_same_items_make_the_same_bytes(ending: str) -> None:
    items = [*FIRST.items, *SECOND.items]
    assert PACKINGS[ending]().pack(items, "e1 0:1-0") == PACKINGS[ending]().pack(items, "e1 0:1-0")


def test_many_items_become_several_segments(server: Server, folder: str) -> None:
    made = sink(server.endpoint, folder, most_bytes=20)
    made.open(NONE)
    assert made.write([FIRST, SECOND, THIRD, FOURTH]) == 5
    assert len(objects_of(server, folder)) == 3
    assert made.pages == 1
    assert numbers(server, folder) == [1, 2, 3, 4, 5]


# ---------------------------------------------------------------------------------------------------------
# requests that fail


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (403, r"the store refuses the credentials with 403 Forbidden \(ExpiredToken\); it takes them from AWS_ACCESS"),
        (503, r"the store answers 503 Service Unavailable \(SlowDown\)"),
        (500, "the store answers 500"),
        ("lost", "the store does not answer"),
        ("cut", "the store does not answer"),
        ("slow", "the store does not answer"),
    ],
)
@pytest.mark.parametrize("end", ["goes on", "is killed"])
def test_a_request_that_fails_loses_nothing(server: Server, folder: str, fault: str | int, says: str, end: str) -> None:
    with Proxy(server) as proxy:
        made = sink(proxy.endpoint, folder, seconds=1)
        made.open(NONE)
        made.write([FIRST])
        proxy.fault, proxy.slowness = fault, 1.5
        for _ in range(2):
            with pytest.raises(OutputError, match=f"cannot write s3://.*{says}.*nothing is lost") as error:
                made.write([SECOND])
            assert SECRET not in str(error.value)
        assert proxy.faults == 2
        proxy.fault = ""
        if end == "is killed":
            made = sink(proxy.endpoint, folder)
            made.open(NONE)
        made.write([SECOND, THIRD, FOURTH])
        made.finish()
    assert numbers(server, folder) == [1, 2, 3, 4, 5]


def test_what_was_stored_of_a_failed_write_is_counted_once(server: Server, folder: str) -> None:
    with Proxy(server) as proxy:
        made = sink(proxy.endpoint, folder, most_bytes=1)
        made.open(NONE)
        proxy.fault = "lost"
        with pytest.raises(OutputError):
            made.write([FIRST, SECOND])
        proxy.fault = ""
        assert made.write([FIRST, SECOND, THIRD]) == 4
    assert numbers(server, folder) == [1, 2, 3, 4]


def test_a_request_that_comes_late_is_no_second_copy(server: Server, folder: str) -> None:
    """A killed exporter's request may be fulfilled after the next exporter has looked."""
    first = sink(server.endpoint, folder)
    first.open(NONE)
    first.write([FIRST])
    second = sink(server.endpoint, folder)
    second.open(NONE)
    second.write([SECOND, THIRD])
    first.write([SECOND])  # late
    third = sink(server.endpoint, folder)
    assert third.open(Exported({0: "2-0", 1: "1-1"}, third.location)) == {0: "2-0", 1: "1-1"}
    assert numbers(server, folder) == [1, 2, 3, 4]
    first.write([FOURTH])
    third.write([FOURTH])
    third.finish()
    assert sorted(numbers(server, folder)) == [1, 2, 3, 4, 5]


def test_a_server_that_is_killed_again_and_again(tmp_path: Path, folder: str) -> None:
    """Each time while a request is on its way; it comes back with what it had on its disk."""
    with running(Rclone(tmp_path)) as server, Proxy(server) as proxy:
        made = sink(proxy.endpoint, folder, seconds=2)
        made.open(NONE)
        for number in range(1, 6):
            entry = OutboxEntry(0, f"{number}-0", (b'{"n":%d}' % number,))
            server.kill()
            with pytest.raises(OutputError, match="cannot write"):
                made.write([entry])
            server.start()
            assert made.write([entry]) == 1
        made.finish()
        assert numbers(server, folder) == [1, 2, 3, 4, 5]


# ---------------------------------------------------------------------------------------------------------
# what is said before the crawl


def test_a_bucket_that_does_not_exist(server: Server, folder: str) -> None:
    with pytest.raises(OutputError, match=r"there is no bucket elsewhere \(404 Not Found \(NoSuchBucket\)\); make it"):
        sink(server.endpoint, folder, bucket="elsewhere").check()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(strict: Server, folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sink(strict.endpoint, folder).check()
    monkeypatch.setenv(name, "wrong-and-never-shown")
    with pytest.raises(OutputError, match="the store refuses the credentials with 403 Forbidden") as error:
        sink(strict.endpoint, folder).check()
    assert "wrong-and-never-shown" not in str(error.value)


def test_a_server_that_is_away(folder: str) -> None:
    with pytest.raises(OutputError, match=r"cannot read s3://bucket/.*: the store does not answer"):
        sink("http://127.0.0.1:9", folder).check()


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@bucket/items.jsonl",
        f"s3://bucket/items.jsonl?aws_secret_access_key={SECRET}",
        f"az://bucket/items.jsonl?sas_token={SECRET}",
    ],
)
def test_credentials_do_not_belong_in_the_url(url: str) -> None:
    with pytest.raises(ConfigError, match="credentials do not belong in a URL") as error:
        ObjectFolder(url, 1)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3:///items.jsonl"])
def test_a_url_without_a_bucket_or_a_folder(url: str) -> None:
    with pytest.raises(ConfigError, match="write s3://BUCKET/FOLDER"):
        ObjectFolder(url, 1)


def test_others_objects_are_not_touched(server: Server, folder: str) -> None:
    write(sink(server.endpoint, folder, epoch="e0"), FIRST)
    before = objects_of(server, folder)
    for call in (ObjectSink.check, lambda made: made.open(NONE)):
        with pytest.raises(OutputError, match=r"holds items of another crawl \(epoch e0\): name another folder"):
            call(sink(server.endpoint, folder))
    assert objects_of(server, folder) == before
    write(sink(server.endpoint, folder, append=True), SECOND)
    after = objects_of(server, folder)
    assert {name: after[name] for name in before} == before
    assert sorted(numbers(server, folder)) == [1, 2, 3]
    assert write(sink(server.endpoint, folder, append=True)) == {1: "1-1"}


def test_items_that_are_no_longer_there_are_said(server: Server, folder: str) -> None:
    made = sink(server.endpoint, folder)
    with pytest.raises(OutputError, match="are no longer in s3://"):
        made.open(Exported({0: "1-0"}, made.location))
    assert sink(server.endpoint, folder, append=True).open(Exported({0: "1-0"}, made.location)) == {0: "1-0"}


# ---------------------------------------------------------------------------------------------------------
# with the exporter


async def with_items(frontier: MemoryFrontier, number: int) -> Job:
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{n}") for n in range(number)], seed=True)
    leases = (await frontier.claim("w1", number, [job], PACE)).leases
    visits = [(lease, Visit(Done(), items=(b'{"n":%d}' % n,))) for n, lease in enumerate(leases)]
    await frontier.commit("w1", visits, PACE)
    return job


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - the exporter's counters have no event
            await asyncio.sleep(0.01)


async def test_credentials_that_expire_in_the_middle_are_waited_out(server: Server, folder: str) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 5)
    with Proxy(server) as proxy:
        made = Gathered(sink(proxy.endpoint, folder, epoch=job.epoch), 2)
        out = Exporter(frontier.jobs, frontier, [made], job, name="x", batch=10, lease_seconds=15, patient=True)
        proxy.fault = 403
        done = False
        running = asyncio.create_task(out.run(asyncio.Event(), until=lambda: done, follow=True))
        await until(lambda: proxy.faults > 1)
        proxy.fault = ""
        done = True
        await asyncio.wait_for(running, 30)
    assert numbers(server, folder) == list(range(5))
    assert (await frontier.stats(job)).outbox == 0


async def test_pages_wait_for_each_other_until_the_end(server: Server, folder: str) -> None:
    frontier, stop = MemoryFrontier(), asyncio.Event()
    job = await with_items(frontier, 5)
    made = Gathered(sink(server.endpoint, folder, epoch=job.epoch), 4)
    out = Exporter(frontier.jobs, frontier, [made], job, name="x", batch=10, lease_seconds=15, patient=True)
    running = asyncio.create_task(out.run(stop, follow=True))
    await until(lambda: out.items == 4)  # enough; the fifth waits
    stop.set()
    await asyncio.wait_for(running, 30)
    assert [len(rows(*one)) for one in objects_of(server, folder).items()] == [4, 1]


async def test_pages_that_are_few_wait_for_some_seconds(server: Server, folder: str) -> None:
    class Hasty(Gathered):
        seconds = 0.2

    frontier, stop = MemoryFrontier(), asyncio.Event()
    job = await with_items(frontier, 3)
    made = Hasty(sink(server.endpoint, folder, epoch=job.epoch), 4)
    out = Exporter(frontier.jobs, frontier, [made], job, name="x", batch=10, lease_seconds=15, patient=True)
    running = asyncio.create_task(out.run(stop, follow=True))
    await until(lambda: out.items == 3)
    stop.set()
    await asyncio.wait_for(running, 30)
    assert len(objects_of(server, folder)) == 1


def test_a_job_of_too_many_shards_for_a_name(server: Server, folder: str) -> None:
    made = sink(server.endpoint, folder)
    made.open(NONE)
    with pytest.raises(ConfigError, match="positions of 100 shards do not fit into the name of an object"):
        made.write([OutboxEntry(shard, "1732280000000-3", (b"{}",)) for shard in range(100)])
    assert objects_of(server, folder) == {}
