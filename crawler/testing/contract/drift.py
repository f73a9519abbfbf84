"""A callback whose items lack a field that they had before is paused, and its pages can be fetched again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from crawler.model import COVERED_FIELDS, Dead, Done, Filled, Job, Request, Visit
from crawler.status import Kept, Pause, Trace
from crawler.testing.contract.world import AT_ONCE, Crawl, World, failed

HOST = "http://a.example"
WINDOW = 5  # pages
PAST = 4 * WINDOW
GOOD = {"name": 1, "price": 1}
BAD = {"name": 1, "price": 0}


@pytest.fixture
async def watched(world: World) -> Crawl:
    """A crawl that compares windows of five pages."""
    return await Crawl.create(world, drift_share=0.5, drift_min=WINDOW)


class Reader:
    """Adds pages of one host and reads them, numbered."""

    def __init__(self, crawl: Crawl, callback: str = "parse") -> None:
        self.crawl = crawl
        self.callback = callback
        self.number = 0

    async def add(self, count: int) -> list[str]:
        """Add pages; return their URLs."""
        urls = [f"{HOST}/{self.callback}/{self.number + one}" for one in range(count)]
        self.number += count
        await self.crawl.add(*[Request(url, spider="shop", callback=self.callback) for url in urls])
        return urls

    async def read(self, fields: dict[str, int], count: int, keys: Sequence[str] = ()) -> list[str]:
        """Add pages, and commit each with one item with these fields; return the URLs."""
        urls = await self.add(count)
        for _ in urls:
            await self.end(fields, keys)
        return urls

    async def end(self, fields: dict[str, int], keys: Sequence[str] = ()) -> None:
        """Claim a page and commit it with one item."""
        filled = (Filled(f"shop.{self.callback}", "dict", 1, fields),)
        assert await self.crawl.end(await self.crawl.lease(), items=(b"{}",), filled=filled, item_keys=tuple(keys))


async def paused(crawl: Crawl) -> tuple[Pause, ...]:
    return (await crawl.frontier.reading.stats(crawl.job)).paused


async def test_a_callback_that_loses_a_field_is_paused_and_says_why(watched: Crawl) -> None:
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    with capture_logs() as logs:
        bad = await reader.read(BAD, WINDOW)
    (pause,) = await paused(watched)
    assert (pause.what, pause.name, pause.job) == ("callback", "shop.parse", watched.job.name)
    said = "price is filled in 0 of 5 items, before in 20 of 20, for example "
    assert pause.why == said + " ".join(bad[:3])
    assert [(one["event"], one["callback"], one["why"]) for one in logs] == [
        ("coverage_drift", "shop.parse", pause.why)
    ]
    await reader.add(2)
    claim = await watched.claim()
    assert (claim.leases, claim.idle) == ((), "paused")
    assert (await watched.frontier.reading.stats(watched.job)).is_all_paused


async def test_a_page_that_is_kept_says_why(watched: Crawl) -> None:
    reader = Reader(watched)
    good = await reader.read(GOOD, PAST)
    bad = await reader.read(BAD, WINDOW)

    async def trace(url: str) -> Trace:
        return await watched.frontier.traces.trace(watched.job, url)

    kept = Kept("shop.parse", {"price": "in 0 of 5 items, before in 20 of 20"})
    assert [(await trace(url)).kept for url in (bad[0], bad[-1], good[-1])] == [kept, kept, None]
    assert [pause.name for pause in (await trace(bad[0])).pauses] == ["shop.parse"]
    await watched.frontier.letters.redo(watched.job)
    assert (await trace(bad[0])).kept is None


async def test_all_counts_stay_exact(watched: Crawl) -> None:
    reader = Reader(watched)
    await reader.read(GOOD, PAST + 2)
    bad = await reader.read(BAD, WINDOW - 2)
    assert len(await paused(watched)) == 1
    (one,) = await watched.frontier.reading.coverage(watched.job)
    assert one.fields["price"].lacking == tuple(bad)
    assert (one.items, one.pages) == (PAST + WINDOW, PAST + WINDOW)
    assert {name: field.filled for name, field in one.fields.items()} == {"name": 25, "price": 22}


async def test_of_the_pages_that_lack_a_field_urls_of_up_to_2000_characters_are_kept(watched: Crawl) -> None:
    reader = Reader(watched)
    short, long = (f"{HOST}/{'x' * (length - len(HOST) - 1)}" for length in (2_000, 2_001))
    await watched.add(Request(long, spider="shop"), Request(short, spider="shop"))
    for _ in range(2):
        await reader.end(BAD)
    await reader.read(GOOD, WINDOW - 2)
    (one,) = await watched.frontier.reading.coverage(watched.job)
    assert one.fields["price"].lacking == (short,)


async def test_other_callbacks_of_the_spider_go_on(watched: Crawl) -> None:
    reader = Reader(watched, "parse_item")
    await reader.read(GOOD, PAST)
    await reader.read(BAD, WINDOW)
    assert [pause.name for pause in await paused(watched)] == ["shop.parse_item"]
    await reader.add(1)
    await watched.add(Request("http://b.example/", spider="shop"), Request("http://c.example/", spider="news"))
    assert sorted(await watched.urls()) == ["http://b.example/", "http://c.example/"]


@pytest.mark.parametrize("share", [1.0, 0.5])
async def test_these_do_not_drift(world: World, share: float) -> None:
    """Any fall, if DRIFT_SHARE is 1; else too short a past, and a field that was never there."""
    crawl = await Crawl.create(world, drift_share=share, drift_min=WINDOW)
    reader = Reader(crawl)
    await reader.read(GOOD, PAST if share == 1 else PAST - WINDOW)
    await reader.read(BAD, WINDOW)
    await reader.read({"name": 1}, WINDOW)
    assert await paused(crawl) == ()


async def test_a_field_that_is_gone_counts_as_empty(watched: Crawl) -> None:
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    await reader.read({"name": 1}, WINDOW)
    (pause,) = await paused(watched)
    assert pause.why.startswith("price is filled in 0 of 5 items, before in 20 of 20, for example ")


@pytest.mark.parametrize(("lost", "more"), [("cba", ""), ("edcba", "; 2 more fields")])
async def test_three_fields_are_named_in_order_and_the_others_counted(watched: Crawl, lost: str, more: str) -> None:
    reader = Reader(watched)
    await reader.read(dict.fromkeys(lost, 1), PAST)
    await reader.read(dict.fromkeys(lost, 0), WINDOW)
    (pause,) = await paused(watched)
    fell = "is filled in 0 of 5 items, before in 20 of 20"
    assert pause.why.startswith(f"a {fell}; b {fell}; c {fell}{more}, for example ")


async def test_as_many_fields_as_count_by_name_are_compared(watched: Crawl) -> None:
    reader = Reader(watched)
    await reader.read({f"field{number}": 1 for number in range(COVERED_FIELDS)}, PAST + WINDOW)
    assert await paused(watched) == ()


async def test_classes_are_judged_apart(watched: Crawl) -> None:
    """A callback that gives items of another class, without the field, has not drifted."""
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    urls = await reader.add(WINDOW)
    for _ in urls:
        offers = (Filled("shop.parse", "Offer", 1, {"name": 1}),)
        assert await watched.end(await watched.lease(), items=(b"{}",), filled=offers)
    assert await paused(watched) == ()


async def test_incomplete_pages_are_fetched_again(watched: Crawl) -> None:
    """Those of the window in which it was noticed, and those in flight then; the others are not asked for again."""
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    bad = await reader.read(BAD, WINDOW - 1)
    last, *in_flight = await reader.add(3)
    leases = (await watched.claim(3)).leases
    for number, lease in enumerate(leases):
        filled = (Filled("shop.parse", "dict", 1, BAD if number < 2 else GOOD),)
        assert await watched.end(lease, items=(b"{}",), filled=filled)
    assert await watched.counter("incomplete/shop.parse") == WINDOW
    before = await watched.counts()
    assert await watched.frontier.letters.redo(watched.job) == WINDOW + 1
    assert await watched.frontier.letters.redo(watched.job) == 0
    assert await watched.counter("incomplete/shop.parse") == 0
    assert await watched.counts() == (WINDOW + 1, 0, before[2] - WINDOW - 1, 0)
    assert await watched.urls() == [], "it is paused until a person resumes it"
    await watched.frontier.pauses.resume(watched.job, "callback", "shop.parse")
    again = (await watched.claim()).leases
    assert sorted(lease.request.url for lease in again) == sorted([*bad, last, in_flight[0]])
    assert all(await watched.finish(again))
    assert await watched.finished()


async def test_a_page_whose_message_is_large_is_not_fetched_again(watched: Crawl) -> None:
    """A window would take too much memory with such messages: 20,000 bytes are kept."""
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    for number, size in enumerate((19_800, 20_000, 0, 0, 0)):
        await watched.add(Request(f"{HOST}/large/{number}", spider="shop", meta={"text": "x" * size}))
    for _ in range(WINDOW):
        await reader.end(BAD)
    assert len(await paused(watched)) == 1
    assert await watched.frontier.letters.redo(watched.job) == WINDOW - 1


async def test_the_complete_items_of_pages_that_are_fetched_again_are_no_duplicates(watched: Crawl) -> None:
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    for number in range(WINDOW):
        await reader.read(BAD, 1, keys=[f"k{number}"])
    await watched.frontier.letters.redo(watched.job)
    await watched.frontier.pauses.resume(watched.job, "callback", "shop.parse")
    items = await watched.counter("items")
    for number in range(WINDOW):
        await reader.end(GOOD, keys=[f"k{number}"])
    assert await watched.counter("items") == items + WINDOW
    assert await watched.counter("dropped/duplicate_item") == 0


async def test_after_a_resume_the_past_begins_anew(watched: Crawl) -> None:
    """So what a person lets pass does not stop the crawl again; the counts for people stay whole."""
    reader = Reader(watched)
    for past, pauses in ((PAST, 1), (PAST - WINDOW, 0), (PAST, 1)):
        await reader.read(GOOD, past)
        await reader.read(BAD, WINDOW)
        assert len(await paused(watched)) == pauses
        assert await watched.frontier.pauses.resume(watched.job, "callback", "shop.parse") == bool(pauses)
    (one,) = await watched.frontier.reading.coverage(watched.job)
    assert (one.items, one.fields["price"].filled) == (3 * PAST + 2 * WINDOW, 3 * PAST - WINDOW)


async def test_only_what_came_after_the_resume_is_the_past(watched: Crawl) -> None:
    """A share that is steady since then is no fall, however whole the items were before."""
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    await reader.read(BAD, WINDOW)
    await watched.frontier.pauses.resume(watched.job, "callback", "shop.parse")
    for number in range(PAST + 2 * WINDOW):
        await reader.read(GOOD if number % 5 < 2 else BAD, 1)
    assert await paused(watched) == ()


async def test_a_resume_ends_the_window_that_pages_in_flight_have_begun(watched: Crawl) -> None:
    """They are kept as the others of the pause, and are not judged again with the pages that come."""
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    await reader.add(WINDOW + 2)
    leases = (await watched.claim()).leases
    for lease in leases:
        filled = (Filled("shop.parse", "dict", 1, BAD),)
        assert await watched.end(lease, items=(b"{}",), filled=filled)
    assert await watched.counter("incomplete/shop.parse") == WINDOW
    await watched.frontier.pauses.resume(watched.job, "callback", "shop.parse")
    assert await watched.counter("incomplete/shop.parse") == WINDOW + 2


async def test_what_a_dead_page_gave_is_not_fetched_again(watched: Crawl) -> None:
    """It is a dead letter, which a person redrives; its errback gave the items."""
    reader = Reader(watched)
    await reader.read(GOOD, PAST)
    await reader.add(WINDOW)
    for lease in (await watched.claim()).leases:
        await watched.end(lease, Dead(failed()), items=(b"{}",), filled=(Filled("shop.parse", "dict", 1, BAD),))
    assert len(await paused(watched)) == 1
    assert await watched.frontier.letters.redo(watched.job) == 0


async def test_a_page_of_two_classes_is_fetched_again_once(watched: Crawl) -> None:
    reader = Reader(watched)
    await reader.add(PAST + WINDOW)
    for number, lease in enumerate((await watched.claim()).leases):
        fields = GOOD if number < PAST else BAD
        filled = tuple(Filled("shop.parse", kind, 1, fields) for kind in ("A", "B"))
        await watched.end(lease, items=(b"{}", b"{}"), filled=filled)
    assert await watched.frontier.letters.redo(watched.job) == WINDOW
    assert (await watched.counts())[0] == WINDOW


async def test_pages_of_one_commit_drift_as_those_of_several_do(watched: Crawl) -> None:
    """A window may be larger then, because a commit is judged once."""
    reader = Reader(watched)
    await reader.add(PAST + WINDOW)
    leases = (await watched.claim()).leases

    def visits(fields: dict[str, int], start: int, end: int) -> list[tuple[object, Visit]]:
        filled = (Filled("shop.parse", "dict", 1, fields),)
        return [(lease, Visit(Done(), items=(b"{}",), filled=filled)) for lease in leases[start:end]]

    await watched.frontier.queue.commit("w1", visits(GOOD, 0, PAST), AT_ONCE)  # type: ignore[arg-type]
    await watched.frontier.queue.commit("w1", visits(BAD, PAST, PAST + WINDOW), AT_ONCE)  # type: ignore[arg-type]
    assert len(await paused(watched)) == 1


async def test_a_person_may_pause_a_callback_in_one_job(watched: Crawl) -> None:
    other = Crawl(watched.world, watched.frontier, await watched.frontier.jobs.create(Job("other")))
    for crawl in (watched, other):
        await crawl.add(Request(f"{HOST}/x", spider="shop", callback="parse_item"))
    assert await watched.frontier.pauses.pause(watched.job, "callback", "shop.parse_item", "being mended")
    assert (await watched.claim()).leases == ()
    assert len((await other.claim()).leases) == 1
    trace = await watched.frontier.traces.trace(watched.job, f"{HOST}/x")
    assert [(pause.what, pause.why) for pause in trace.pauses] == [("callback", "being mended")]
    assert await watched.frontier.pauses.resume(watched.job, "callback", "shop.parse_item")
    assert len((await watched.claim()).leases) == 1
