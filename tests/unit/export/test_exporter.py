"""The exporter and a queue server that hiccups: each item in the sink once, and out of the outbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.errors import FrontierUnavailable, OutputClosed, OutputError, UnstorableItems
from crawler.export.draining import POLL_SECONDS
from crawler.export.exporter import Exporter
from crawler.export.sinks.chosen import Chosen
from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.sinks.file import FileSink
from crawler.export.sinks.in_thread import BlockingSink, InThread
from crawler.export.sinks.stream import STDOUT, StreamSink
from crawler.export.target import Target
from crawler.interfaces import Pace, Sink
from crawler.model import BadItem, DeadItem, Done, Exported, Job, OutboxEntry, Request, Visit
from crawler.program import PROGRAM
from crawler.views.losses import lost
from tests.memory import MemoryFrontier

PACE = Pace(delay=0.0, concurrency=100)


class Flaky(MemoryFrontier):
    """Loses the answers of the next `silent` acknowledgements, and, with `deaf`, does not even get them."""

    silent = 0
    deaf = False

    async def acknowledge(self, job: Job, exported: Exported, sinks: Mapping[str, Exported] = {}) -> None:
        if self.silent and exported.positions:
            self.silent -= 1
            if not self.deaf:
                await super().acknowledge(job, exported, sinks)
            raise FrontierUnavailable("no answer")
        await super().acknowledge(job, exported, sinks)


async def with_items(frontier: MemoryFrontier, first: int, last: int) -> Job:
    """A job that has these items in its outbox."""
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{n}") for n in range(first, last)], seed=True)
    leases = (await frontier.claim("w1", 100, [job], PACE)).leases
    visits = [(lease, Visit(Done(), items=(b'{"url":"%s"}' % lease.request.url.encode(),))) for lease in leases]
    await frontier.commit("w1", visits, PACE)
    return job


def exporter(frontier: MemoryFrontier, job: Job, sink: BlockingSink, patient: bool = True) -> Exporter:
    return exporting(frontier, job, [InThread(sink)], patient=patient)


def exporting(frontier: MemoryFrontier, job: Job, sinks: Sequence[Sink], *, patient: bool = True) -> Exporter:
    return Exporter(frontier.jobs, frontier, sinks, job, name="x", batch=10, lease_seconds=15, patient=patient)


@pytest.mark.parametrize("deaf", [True, False])
async def test_a_lost_last_acknowledgement_is_made_again(tmp_path: Path, deaf: bool) -> None:
    frontier = Flaky()
    job = await with_items(frontier, 0, 5)
    frontier.silent, frontier.deaf = 1, deaf
    out = exporter(frontier, job, FileSink(tmp_path / "items.jsonl", job.epoch))
    await out.run(asyncio.Event())
    assert out.items == 5
    assert (await frontier.stats(job)).outbox == 0
    assert len((tmp_path / "items.jsonl").read_text().splitlines()) == 5


async def test_a_hiccup_while_it_resumes_does_not_lock_it_out_of_its_own_file(tmp_path: Path) -> None:
    frontier = Flaky()
    job = await with_items(frontier, 0, 5)
    path = tmp_path / "items.jsonl"
    await exporter(frontier, job, FileSink(path, job.epoch)).run(asyncio.Event())
    await with_items(frontier, 5, 7)
    frontier.silent, frontier.deaf = 1, True
    await exporter(frontier, job, FileSink(path, job.epoch)).run(asyncio.Event())
    assert len(path.read_text().splitlines()) == 7
    assert (await frontier.stats(job)).outbox == 0


async def test_patience_ends_where_nobody_will_ever_read() -> None:
    class Closed(StreamSink):
        def write(self, entries: object) -> int:
            raise OutputClosed("standard output was closed")

    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 1)
    with pytest.raises(OutputClosed):
        await asyncio.wait_for(exporter(frontier, job, Closed(STDOUT)).run(asyncio.Event(), follow=True), 5)
    assert (await frontier.stats(job)).outbox == 1


class Away(FileSink):
    """A file whose disk is away for a while."""

    is_away = True

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        if self.is_away:
            raise OutputError(f"{self.location}: away; nothing is lost")
        return super().write(entries)


def items_in(path: Path) -> list[str]:
    return [json.loads(line)["url"] for line in path.read_text().splitlines()]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - it is a file that is looked at
            await asyncio.sleep(0.01)


async def lacking(frontier: MemoryFrontier, job: Job) -> dict[str, int]:
    """How many pages that wait each sink lacks."""
    return {name: await frontier.waiting(job, its.positions) for name, its in (await frontier.sinks(job)).items()}


URLS = [f"http://a.example/{n}" for n in range(30)]


async def test_a_sink_that_is_away_holds_up_no_other_and_gets_all_in_the_end(tmp_path: Path) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 30)
    files = [tmp_path / f"{name}.jsonl" for name in "abc"]
    away = Away(files[1], job.epoch)
    sinks = [InThread(sink) for sink in (FileSink(files[0], job.epoch), away, FileSink(files[2], job.epoch))]
    stop = asyncio.Event()
    running = asyncio.create_task(exporting(frontier, job, sinks).run(stop, follow=True))
    await until(lambda: all(file.exists() and len(items_in(file)) == 30 for file in (files[0], files[2])))
    assert (await frontier.stats(job)).outbox == 30, "what one lacks stays in the outbox"
    async with asyncio.timeout(10):
        while list((await lacking(frontier, job)).values()) != [0, 30, 0]:  # noqa: ASYNC110 - of the server
            await asyncio.sleep(0.01)
    assert list(await lacking(frontier, job)) == [str(file) for file in files]
    away.is_away = False
    stop.set()
    await running
    assert [items_in(file) for file in files] == [URLS] * 3
    assert (await frontier.stats(job)).outbox == 0


async def test_an_exporter_that_keeps_up_reads_once_between_two_pauses_and_a_backlog_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, go_on = asyncio.Queue[float](), asyncio.Event()

    async def pause(seconds: float, _: object) -> None:
        pauses.put_nowait(seconds)
        await go_on.wait()
        go_on.clear()

    monkeypatch.setattr("crawler.export.draining.pause", pause)
    frontier, stop, found = MemoryFrontier(), asyncio.Event(), list[int]()
    read = frontier.read

    async def counted(job: Job, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        entries = await read(job, after, limit)
        found.append(len(entries))
        return entries

    monkeypatch.setattr(frontier, "read", counted)
    job = await with_items(frontier, 0, 25)
    running = asyncio.create_task(
        exporter(frontier, job, FileSink(tmp_path / "x.jsonl", job.epoch)).run(stop, follow=True)
    )
    async with asyncio.timeout(10):
        assert await pauses.get() == POLL_SECONDS
        assert found == [10, 10, 5]
        for number in range(25, 28):
            await with_items(frontier, number, number + 1)
        go_on.set()
        await pauses.get()
    assert found[3:] == [3]
    stop.set()
    go_on.set()
    await running
    assert len(items_in(tmp_path / "x.jsonl")) == 28


async def test_each_sink_goes_on_where_it_was_when_an_exporter_died(tmp_path: Path) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 30)
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]

    def both(*, away: bool) -> list[Sink]:
        other = Away(files[1], job.epoch)
        other.is_away = away
        return [InThread(FileSink(files[0], job.epoch)), InThread(other)]

    with pytest.raises(OutputError, match="away"):
        await exporting(frontier, job, both(away=True), patient=False).run(asyncio.Event())
    assert items_in(files[0]) == URLS
    await with_items(frontier, 30, 33)
    out = exporting(frontier, job, both(away=False), patient=False)
    await out.run(asyncio.Event())
    assert [one.items for one in out.sinks] == [3, 33]
    assert out.items == 33
    assert items_in(files[0]) == items_in(files[1]) == [*URLS, *(f"http://a.example/{n}" for n in range(30, 33))]
    assert (await frontier.stats(job)).outbox == 0


class Deadly(MemoryFrontier):
    """Kills exporters when they tell of a batch."""

    is_deadly = False

    async def acknowledge(self, job: Job, exported: Exported, sinks: Mapping[str, Exported] = {}) -> None:
        if self.is_deadly and exported != await self.exported(job):
            raise KeyboardInterrupt
        await super().acknowledge(job, exported, sinks)


async def test_values_without_a_column_are_a_loss_of_the_job_though_the_exporter_dies(tmp_path: Path) -> None:
    frontier, path = Deadly(), tmp_path / "items.csv"
    job = await with_items(frontier, 0, 25)
    path.write_bytes(b"title\r\n")

    def sinks() -> list[Sink]:
        csv, target = FileSink(path, job.epoch, ENCODINGS["csv"](()), append=True), Target(str(path))
        return [Chosen(InThread(csv), target), InThread(FileSink(tmp_path / "b.jsonl", job.epoch))]

    for deadly in (True, True, False):
        frontier.is_deadly = deadly
        with suppress(KeyboardInterrupt):
            await exporting(frontier, job, sinks()).run(asyncio.Event())
    stats = await frontier.stats(job)
    assert stats.outbox == 0
    assert [(one.counter, one.count) for one in lost(stats)] == [(f"values_left_out/{path}", 25)]


async def test_an_output_that_is_named_no_more_and_lacks_pages_is_an_error(tmp_path: Path) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 4)
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]
    away = Away(files[1], job.epoch)
    away.is_away = False
    ours = InThread(FileSink(files[0], job.epoch))
    await exporting(frontier, job, [ours, InThread(away)]).run(asyncio.Event())
    await with_items(frontier, 4, 30)
    away.is_away = True
    with pytest.raises(OutputError, match="away"):
        await exporting(frontier, job, [ours, InThread(away)], patient=False).run(asyncio.Event())
    with pytest.raises(OutputError, match=r"b\.jsonl still lacks 26 pages that wait in the outbox of job news"):
        await exporting(frontier, job, [ours]).run(asyncio.Event())
    assert len(items_in(files[0])) == 30
    leaving = Exporter(
        frontier.jobs, frontier, [ours], job, name="x", batch=10, lease_seconds=15, patient=True, leaving=True
    )
    with capture_logs() as logs:
        await leaving.run(asyncio.Event())
    assert [(log["output"], log["pages"]) for log in logs if log["event"] == "output_left_behind"] == [
        (str(files[1]), 26)
    ]
    stats = await frontier.stats(job)
    assert (stats.outbox, stats.counters[f"left_behind/{files[1]}"]) == (0, 26)
    with pytest.raises(OutputError, match="earlier items of this job"):
        await exporting(frontier, job, [ours, InThread(Away(files[1], job.epoch))]).run(asyncio.Event())


async def test_an_output_that_is_named_no_more_and_has_all_pages_is_told_once(tmp_path: Path) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 4)
    first, second = (InThread(FileSink(tmp_path / f"{name}.jsonl", job.epoch)) for name in "ab")
    await exporting(frontier, job, [first, second]).run(asyncio.Event())
    for told in (1, 0):
        with capture_logs() as logs:
            await exporting(frontier, job, [first]).run(asyncio.Event())
        assert [log["output"] for log in logs if log["event"] == "output_not_named"] == [second.location] * told


async def test_a_new_output_beside_one_that_has_items_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 4)
    first, second = (InThread(FileSink(tmp_path / f"{name}.jsonl", job.epoch)) for name in "ab")
    await exporting(frontier, job, [first]).run(asyncio.Event())
    await with_items(frontier, 4, 6)
    with pytest.raises(OutputError, match="earlier items of this job"):
        await exporting(frontier, job, [first, second]).run(asyncio.Event())
    assert len(items_in(tmp_path / "a.jsonl")) == 4
    assert not (tmp_path / "b.jsonl").exists()


async def test_one_that_fails_for_good_ends_the_command_when_the_others_have_all(tmp_path: Path) -> None:
    class Closed(StreamSink):
        def write(self, entries: object) -> int:
            raise OutputClosed("standard output was closed")

    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 3)
    file, is_over = tmp_path / "a.jsonl", False
    sinks = [InThread(Closed(STDOUT)), InThread(FileSink(file, job.epoch))]
    out = exporting(frontier, job, sinks)
    running = asyncio.create_task(out.run(asyncio.Event(), until=lambda: is_over, follow=True))
    await until(lambda: file.exists() and len(items_in(file)) == 3)
    await with_items(frontier, 3, 5)
    await until(lambda: len(items_in(file)) == 5)
    is_over = True
    with pytest.raises(OutputClosed):
        await running
    assert (await frontier.stats(job)).outbox == 5, "they wait for the one that failed"


async def test_one_of_earlier_runs_that_cannot_be_opened_now_holds_up_no_other(tmp_path: Path) -> None:
    class Gone(FileSink):
        def open(self, exported: Exported) -> Mapping[int, str]:
            if gone.is_set():
                raise OutputError("gone")
            return super().open(exported)

    frontier, gone = MemoryFrontier(), asyncio.Event()
    job = await with_items(frontier, 0, 3)
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]

    def both() -> list[Sink]:
        return [InThread(Gone(files[0], job.epoch)), InThread(FileSink(files[1], job.epoch))]

    gone.set()
    with pytest.raises(OutputError, match="gone"):
        await exporting(frontier, job, both()).run(asyncio.Event())
    assert not files[1].exists(), "a new one that cannot be opened is a mistake in the command"
    gone.clear()
    await exporting(frontier, job, both()).run(asyncio.Event())
    await with_items(frontier, 3, 5)
    gone.set()
    stop = asyncio.Event()
    running = asyncio.create_task(exporting(frontier, job, both()).run(stop, follow=True))
    await until(lambda: len(items_in(files[1])) == 5)
    assert (await frontier.stats(job)).outbox == 2
    gone.clear()
    await until(lambda: len(items_in(files[0])) == 5)
    stop.set()
    await running
    assert (await frontier.stats(job)).outbox == 0


class Choosy(FileSink):
    """Stores even numbers only."""

    refuses = True

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        bad = [
            BadItem(entry.shard, entry.position, number, f"choosy cannot store {item.decode()}")
            for entry in entries
            for number, item in entry.numbered()
            if self.refuses and int(json.loads(item)["url"].rpartition("/")[2]) % 2
        ]
        if bad:
            raise UnstorableItems(bad)
        return super().write(entries)


async def dead_items(frontier: MemoryFrontier, job: Job) -> list[DeadItem]:
    return [item async for item in frontier.dead_items.each(job)]


async def test_what_a_sink_cannot_store_is_kept_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Also around an outage right behind it: each is kept once. After a fix, only the sink that lacks it gets it."""
    frontier = Flaky()
    job = await with_items(frontier, 0, 30)
    frontier.silent, frontier.deaf = 2, True
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]
    choosy = Choosy(files[1], job.epoch)
    sinks = [InThread(FileSink(files[0], job.epoch)), InThread(choosy)]
    out = exporting(frontier, job, sinks)
    with capture_logs() as logs:
        await out.run(asyncio.Event())
    assert [one.items for one in out.sinks] == [30, 15]
    assert (items_in(files[0]), items_in(files[1])) == (URLS, URLS[::2])
    found = await dead_items(frontier, job)
    assert sorted(json.loads(item.item)["url"] for item in found) == sorted(URLS[1::2])
    assert {item.output for item in found} == {str(files[1])}
    assert all(item.why == f"choosy cannot store {item.item}" and item.url in URLS for item in found)
    assert sum(log["items"] for log in logs if log["event"] == "items_not_stored") == 15
    stats = await frontier.stats(job)
    assert (stats.outbox, stats.dead_items) == (0, 15)
    told = f"15 items: an output cannot store them; {PROGRAM} dead items --job news"
    assert [loss.text for loss in lost(stats)] == [told]
    assert await frontier.dead_items.redrive(job) == 15
    choosy.refuses = False
    await exporting(frontier, job, sinks).run(asyncio.Event())
    assert items_in(files[0]) == URLS
    assert sorted(items_in(files[1])) == sorted(URLS)
    stats = await frontier.stats(job)
    assert (stats.outbox, stats.dead_items, lost(stats)) == (0, 0, [])


async def test_an_item_that_was_redriven_for_an_output_that_is_gone_is_a_dead_item_again(tmp_path: Path) -> None:
    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 4)
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]
    first, choosy = InThread(FileSink(files[0], job.epoch)), InThread(Choosy(files[1], job.epoch))
    await exporting(frontier, job, [first, choosy]).run(asyncio.Event())
    await frontier.dead_items.redrive(job)
    leaving = Exporter(
        frontier.jobs, frontier, [first], job, name="x", batch=10, lease_seconds=15, patient=True, leaving=True
    )
    await leaving.run(asyncio.Event())
    assert len(items_in(files[0])) == 4
    assert [item.output for item in await dead_items(frontier, job)] == [str(files[1])] * 2


async def test_a_sink_that_refuses_what_it_does_not_name_is_no_endless_loop(tmp_path: Path) -> None:
    class Confused(FileSink):
        def write(self, entries: object) -> int:
            raise UnstorableItems([BadItem(0, "1-1", 0, "some item")])

    frontier = MemoryFrontier()
    job = await with_items(frontier, 0, 1)
    out = exporting(frontier, job, [InThread(Confused(tmp_path / "a", job.epoch))], patient=False)
    with pytest.raises(OutputError, match="refuses items that it does not name: some item"):
        await out.run(asyncio.Event())
