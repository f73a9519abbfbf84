"""Dead letters: what they record, and how they get another try."""

from __future__ import annotations

import time

import pytest

from crawler.model import Dead, Done, Failure, Outcome, Release, Request, Retry, Rule, Skip, Visit
from crawler.testing.contract.world import AT_ONCE, Crawl, World, dead, failed, hosts, pages

FAILURE = Failure("callback", "KeyError: 'price' – ü \U0001f980", status=200, traceback='File "shop.py"\n  line 3')


async def test_a_dead_letter_tells_all_that_is_known(crawl: Crawl) -> None:
    before = time.time()
    await crawl.add(Request("http://a.example/", callback="parse_item", spider="shop"))
    await crawl.end(await crawl.lease(), Retry(failed(), 0.0))
    lease = await crawl.lease(worker="w7")
    await crawl.end(lease, Dead(FAILURE), worker="w7")
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert (letter.url, letter.spider, letter.callback) == ("http://a.example/", "shop", "parse_item")
    assert (letter.attempts, letter.worker, letter.failure) == (2, "w7", FAILURE)
    assert before - 1 < letter.died < time.time() + 1
    assert (letter.host, letter.deliveries) == ("a.example", 2)
    assert letter.message == lease.message.decode()
    assert len(letter.id) == 12


async def test_a_failure_may_quote_what_is_no_text(crawl: Crawl) -> None:
    """Headers and pages may contain lone surrogates; the letter keeps or replaces them."""
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), Dead(Failure("callback", "KeyError: '\ud800'", traceback="\udfff!")))
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert letter.failure.message.startswith("KeyError: '")
    assert letter.failure.traceback.endswith("!")


async def test_a_request_that_no_worker_survived_is_told_as_well_and_comes_back(world: World) -> None:
    crawl = await Crawl.create(world, max_crashes=1)
    request = Request("http://a.example/", callback="parse_item", spider="shop", meta={"word": "ü\U0001f980"})
    await crawl.add(request)
    await crawl.lease()
    await world.expire("w1")
    await crawl.frontier.leases.reap()
    (letter,) = await crawl.frontier.letters.newest(crawl.job)
    assert (letter.url, letter.spider, letter.callback, letter.host) == (request.url, "shop", "parse_item", "a.example")
    assert (letter.failure.kind, letter.deliveries) == ("crash", 1)
    assert await crawl.frontier.letters.redrive(crawl.job) == 1
    assert (await crawl.lease()).request == request


async def test_newest_first_and_at_most_the_limit(world: World, crawl: Crawl) -> None:
    await crawl.add(*hosts(6))
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Dead(Failure("x", lease.request.url)))
        await world.pass_time(0.002)
    letters = await crawl.frontier.letters.newest(crawl.job, 4)
    everything = await crawl.frontier.letters.newest(crawl.job)
    assert letters == everything[:4]
    assert [letter.died for letter in everything] == sorted((one.died for one in everything), reverse=True)
    assert len({letter.id for letter in everything}) == 6


async def test_equal_dont_filter_requests_each_leave_a_letter(crawl: Crawl) -> None:
    await crawl.add(*[Request("http://a.example/", dont_filter=True)] * 2)
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, dead())
    assert await crawl.counts() == (0, 0, 0, 2)
    assert len(await crawl.frontier.letters.newest(crawl.job)) == 2
    assert await crawl.frontier.letters.redrive(crawl.job) == 2
    assert await crawl.counts() == (2, 0, 0, 0)


async def test_redrive_gives_all_another_chance_with_a_clean_account(crawl: Crawl) -> None:
    requests = [Request(url, priority=3, meta={"n": n}) for n, url in enumerate(hosts(10))]
    await crawl.add(*requests)
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Retry(failed(), 0.0))
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, dead())
    assert await crawl.frontier.letters.redrive(crawl.job) == 10
    assert await crawl.counts() == (10, 0, 0, 0)
    leases = (await crawl.claim()).leases
    assert {lease.attempt for lease in leases} == {0}
    assert sorted((lease.request for lease in leases), key=lambda r: r.meta["n"]) == requests
    assert await crawl.frontier.letters.newest(crawl.job) == []


async def test_redrive_of_some(crawl: Crawl) -> None:
    await _kill(crawl, *hosts(5))
    chosen = await crawl.frontier.letters.newest(crawl.job, 2)
    ids = [letter.id for letter in chosen]
    assert await crawl.frontier.letters.redrive(crawl.job, [*ids, "unknown", ids[0]]) == 2
    assert sorted(await crawl.urls()) == sorted(letter.url for letter in chosen)
    assert await crawl.counts() == (0, 2, 0, 3)


async def test_redrive_of_none(crawl: Crawl) -> None:
    await _kill(crawl, *hosts(2))
    assert await crawl.frontier.letters.redrive(crawl.job, []) == 0
    assert await crawl.counts() == (0, 0, 0, 2)


async def test_redriving_twice_is_redriving_once(crawl: Crawl) -> None:
    await _kill(crawl, *hosts(3))
    ids = [letter.id for letter in await crawl.frontier.letters.newest(crawl.job)]
    assert await crawl.frontier.letters.redrive(crawl.job, ids) == 3
    assert await crawl.frontier.letters.redrive(crawl.job, ids) == 0
    assert await crawl.counts() == (3, 0, 0, 0)


async def test_a_lease_that_died_cannot_end_its_redriven_request(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    old = await crawl.lease()
    await crawl.end(old, dead())
    await crawl.frontier.letters.redrive(crawl.job)
    again = await crawl.lease()
    assert again.request.url == old.request.url
    await crawl.end(await crawl.lease())
    assert not await crawl.end(old)
    assert await crawl.end(again)
    assert await crawl.counts() == (0, 0, 2, 0)


async def test_a_redriven_request_can_die_again(crawl: Crawl) -> None:
    for _ in range(3):
        await _kill(crawl, "http://a.example/")
        assert await crawl.finished()
        assert await crawl.frontier.letters.redrive(crawl.job) == 1
        assert not await crawl.finished()
    await crawl.end(await crawl.lease())
    assert await crawl.counts() == (0, 0, 1, 0)
    assert await crawl.finished()


async def test_dead_requests_stay_known(crawl: Crawl) -> None:
    await _kill(crawl, "http://a.example/")
    assert await crawl.add("http://a.example/") == 0


async def test_all_are_told_one_by_one_or_those_of_some_ids(crawl: Crawl) -> None:
    await _kill(crawl, *hosts(5))
    letters = [letter async for letter in crawl.frontier.letters.each(crawl.job)]
    newest_first = await crawl.frontier.letters.newest(crawl.job)
    assert sorted(letters, key=lambda letter: letter.id) == sorted(newest_first, key=lambda letter: letter.id)
    ids = [letters[3].id, "unknown", letters[1].id, letters[3].id]
    chosen = [letter async for letter in crawl.frontier.letters.each(crawl.job, ids)]
    assert {letter.id for letter in chosen} == {letters[3].id, letters[1].id}
    assert len(chosen) == 2


async def test_dropped_letters_are_gone_for_good_and_stay_known(crawl: Crawl) -> None:
    await _kill(crawl, *hosts(5))
    chosen = await crawl.frontier.letters.newest(crawl.job, 2)
    ids = [letter.id for letter in chosen]
    assert await crawl.frontier.letters.drop(crawl.job, [*ids, "unknown", ids[0]]) == 2
    assert await crawl.frontier.letters.drop(crawl.job, ids) == 0
    assert await crawl.frontier.letters.redrive(crawl.job, ids) == 0
    assert not set(ids) & {letter.id for letter in await crawl.frontier.letters.newest(crawl.job)}
    assert await crawl.counts() == (0, 0, 0, 3)
    assert (await crawl.frontier.reading.stats(crawl.job)).dropped == 2
    assert await crawl.add(*hosts(5)) == 0
    assert await crawl.frontier.letters.drop(crawl.job) == 3
    assert await crawl.counts() == (0, 0, 0, 0)


async def test_dropping_does_not_undo_the_end(crawl: Crawl) -> None:
    await _kill(crawl, *hosts(3))
    assert await crawl.frontier.letters.drop(crawl.job, []) == 0
    assert await crawl.frontier.letters.drop(crawl.job) == 3
    assert await crawl.finished()
    assert await crawl.frontier.letters.newest(crawl.job) == []


async def test_many_are_moved_in_parts(crawl: Crawl) -> None:
    await _kill(crawl, *pages(450))
    ids = [letter.id async for letter in crawl.frontier.letters.each(crawl.job)]
    assert len(set(ids)) == len(ids) == 450
    assert await crawl.frontier.letters.redrive(crawl.job, ids[:250]) == 250
    assert await crawl.frontier.letters.drop(crawl.job) == 200
    assert await crawl.counts() == (250, 0, 0, 0)


async def _kill(crawl: Crawl, *urls: str) -> None:
    await crawl.add(*urls)
    while leases := (await crawl.claim()).leases:
        visits = [(lease, Visit(dead())) for lease in leases]
        assert all(await crawl.frontier.queue.commit("w1", visits, AT_ONCE))


async def test_requests_that_wait_for_another_try_tell_their_last_error_until_they_end(
    world: World, crawl: Crawl
) -> None:
    urls = hosts(3)
    await crawl.add(*urls)
    for number, lease in enumerate((await crawl.claim()).leases):
        await crawl.end(lease, Retry(Failure("callback", f"error {number}", line="shop.py:7"), 0.0))
        await world.pass_time(0.002)
    errors = [one.error for one in await crawl.frontier.letters.failing(crawl.job)]
    assert errors == ["error 2 (shop.py:7)", "error 1 (shop.py:7)", "error 0 (shop.py:7)"]
    assert len(await crawl.frontier.letters.failing(crawl.job, 2)) == 2
    traced = (await crawl.frontier.traces.trace(crawl.job, urls[0])).failing
    assert traced is not None
    assert (traced.url, traced.error[:5]) == (urls[0], "error")
    again = (await crawl.claim()).leases
    outcomes: list[Outcome] = [Done(), Skip("robots"), dead()]
    for lease, outcome in zip(again, outcomes, strict=True):
        await crawl.end(lease, outcome)
    assert await crawl.frontier.letters.failing(crawl.job) == []
    assert (await crawl.frontier.reading.stats(crawl.job)).failing == 0


@pytest.mark.parametrize("way", ["released", "set aside"])
async def test_what_goes_back_without_another_try_keeps_its_last_error(crawl: Crawl, way: str) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), Retry(failed(), 0.0))
    lease = await crawl.lease()
    if way == "released":
        assert await crawl.end(lease, Release("drain"))
    else:
        assert await crawl.frontier.queue.set_aside("w1", crawl.job, lease.message, 0.0)
    assert len(await crawl.frontier.letters.failing(crawl.job)) == 1


async def test_a_page_whose_host_is_at_fault_tells_its_last_error_too(crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    for lease in (await crawl.claim()).leases:
        await crawl.end(lease, Retry(failed(), 0.0), health="busy")
    assert await crawl.counter("spared") == 1
    assert len(await crawl.frontier.letters.failing(crawl.job)) == 2


async def test_a_page_that_killed_its_worker_tells_so(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    lease = await crawl.lease()
    await crawl.frontier.leases.reap("w1", blame=(lease, Retry(Failure("crash", "killed it"), 0.0)))
    (one,) = await crawl.frontier.letters.failing(crawl.job)
    assert one.error == "killed it"


async def test_a_blocked_request_fails_no_more(crawl: Crawl) -> None:
    await crawl.add("http://a.example/")
    await crawl.end(await crawl.lease(), Retry(failed(), 0.0))
    await crawl.frontier.control.set_rule(Rule("block", "host", "a.example", "on"))
    assert await crawl.urls() == []
    assert await crawl.frontier.letters.failing(crawl.job) == []
