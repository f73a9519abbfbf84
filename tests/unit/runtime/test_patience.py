"""An outage is waited out, logged once at each end, and hides no other error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from crawler.errors import CrawlerError, FrontierFull, FrontierReplaced, FrontierUnavailable, OutputError
from crawler.runtime import patience
from crawler.runtime.patience import Patience, every


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.0)
    with capture_logs() as lines:
        yield lines


class Server:
    """Fails with these errors, one a call, and answers then."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.failed = asyncio.Event()

    async def __call__(self) -> str:
        if self.errors:
            self.failed.set()
            raise self.errors.pop(0)
        return "answer"


def events(logged: list[EventDict]) -> list[str]:
    return [line["event"] for line in logged]


async def test_a_call_is_repeated_until_it_succeeds_and_two_lines_say_so(logged: list[EventDict]) -> None:
    server = Server(FrontierUnavailable("gone"), FrontierUnavailable("gone"), FrontierFull("full"))
    assert await Patience("away").until_done(server) == "answer"
    assert events(logged) == ["away", "away_over"]
    assert logged[1]["times"] == 3


async def test_the_next_outage_is_logged_again(logged: list[EventDict]) -> None:
    waits = Patience("away")
    for _ in range(2):
        await waits.until_done(Server(FrontierUnavailable("gone")))
    assert events(logged) == ["away", "away_over"] * 2


async def test_without_a_name_nothing_is_logged(logged: list[EventDict]) -> None:
    assert await Patience().until_done(Server(FrontierUnavailable("gone"))) == "answer"
    assert not logged


@pytest.mark.parametrize("error", [FrontierReplaced("other"), OutputError("disk full"), KeyError("bug")])
async def test_what_is_no_outage_passes_through(error: Exception, logged: list[EventDict]) -> None:
    with pytest.raises(type(error)):
        await Patience("away").until_done(Server(error))
    with pytest.raises(type(error)):
        await Patience("away").attempt(Server(error))
    assert not logged


async def test_more_errors_can_be_waited_out() -> None:
    server = Server(OutputError("disk full"), FrontierUnavailable("gone"))
    assert await Patience("away").until_done(server, also=(OutputError,)) == "answer"


async def test_a_stop_ends_the_pause_and_the_next_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 3600.0)
    stop, server = asyncio.Event(), Server(FrontierUnavailable("gone"), FrontierFull("full"))
    waiting = asyncio.create_task(Patience("away").until_done(server, stop))
    await server.failed.wait()
    stop.set()
    async with asyncio.timeout(5):
        with pytest.raises(FrontierFull):
            await waiting


async def test_a_stop_does_not_keep_a_call_that_succeeds_from_being_made() -> None:
    stop = asyncio.Event()
    stop.set()
    assert await Patience("away").until_done(Server(), stop) == "answer"


async def test_a_cancellation_that_the_call_has_lost_ends_the_wait() -> None:
    begun = asyncio.Event()

    async def loses_it() -> str:
        if begun.is_set():
            return "answer"
        begun.set()
        try:
            return await asyncio.Future[str]()
        except asyncio.CancelledError:
            raise FrontierUnavailable("the connection was not opened") from None

    waiting = asyncio.create_task(Patience("away").until_done(loses_it))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_one_attempt_tells_an_outage_from_an_answer(logged: list[EventDict]) -> None:
    waits, server = Patience("away"), Server(FrontierUnavailable("gone"), FrontierFull("full"))
    assert [await waits.attempt(server) for _ in range(3)] == [None, None, "answer"]
    assert events(logged) == ["away", "away_over"]


async def test_an_error_that_another_part_met_belongs_to_the_same_outage(logged: list[EventDict]) -> None:
    waits = Patience("away")
    waits.met(CrawlerError("gone"))
    await waits.until_done(Server(FrontierUnavailable("gone")))
    assert events(logged) == ["away", "away_over"]


async def test_a_call_is_made_at_once_and_after_each_pause_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, done = asyncio.Event(), list[object]()

    async def call() -> None:
        done.append("call")
        if done.count("call") == 3:
            stop.set()

    async def pause(seconds: float, stop: asyncio.Event) -> None:
        done.append(seconds)

    monkeypatch.setattr(patience, "pause", pause)
    await every(2.0, call, stop)
    assert done == ["call", 2.0] * 3
    await every(2.0, call, stop)
    assert done.count("call") == 3, "nothing is begun once it is stopped"


async def test_a_stop_ends_the_pause_between_two_calls() -> None:
    stop, made = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        made.set()

    repeating = asyncio.create_task(every(3600.0, call, stop))
    await made.wait()
    stop.set()
    async with asyncio.timeout(5):
        await repeating


async def test_without_a_stop_an_error_ends_it() -> None:
    with pytest.raises(OutputError):
        await every(0.0, Server(OutputError("disk full")))
