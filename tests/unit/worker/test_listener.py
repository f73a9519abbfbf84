"""A worker process receives broadcasts, obeys the rules that concern it, and answers."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from crawler.errors import FrontierUnavailable
from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.redis.control import RedisControl
from crawler.model import Broadcast, Rule
from crawler.runtime import logs
from crawler.worker.listener import Listener
from tests.memory import MemoryFrontier

DEBUG = Rule("log-level", "fleet", "", "DEBUG")


@asynccontextmanager
async def listening(
    control: RedisControl, levels: list[str], **answers: Callable[[], object]
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker `w` that listens for the length of the block."""
    task = asyncio.create_task(Listener(control, "w", answers, levels.append).run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def answer_to(control: RedisControl, call: str) -> str:
    """Wait for it."""
    async with asyncio.timeout(5):
        while "w" not in (answers := await control.answers(call)):  # noqa: ASYNC110 – as the command does
            await asyncio.sleep(0)
    return answers["w"]


async def test_a_rule_is_answered_and_a_log_level_obeyed_until_it_is_lifted() -> None:
    control, levels = MemoryFrontier().control, list[str]()
    async with listening(control, levels):
        await asyncio.sleep(0.01)
        assert await answer_to(control, (await control.set_rule(DEBUG)).call) == "OK"
        assert await answer_to(control, (await control.set_rule(Rule("pause", "job", "j", "on"))).call) == "OK"
        assert levels == ["DEBUG"]
        assert await answer_to(control, (await control.set_rule(Rule("log-level", "fleet"))).call) == "OK"
        assert levels == ["DEBUG", ""]


async def test_a_level_that_was_set_before_the_worker_came_holds_for_it() -> None:
    control, levels = MemoryFrontier().control, list[str]()
    await control.set_rule(DEBUG)
    async with listening(control, levels), asyncio.timeout(5):
        while not levels:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert levels == ["DEBUG"]


async def test_questions_are_answered_as_json_and_unknown_ones_with_a_word() -> None:
    control = MemoryFrontier().control
    async with listening(control, [], active=lambda: [{"url": "http://a.example/"}]):
        await asyncio.sleep(0.01)
        assert json.loads(await answer_to(control, await control.ask("active"))) == [{"url": "http://a.example/"}]
        assert "does not know" in await answer_to(control, await control.ask("what"))


class Away(RedisControl):
    """A queue server that is away at first."""

    failures = 2

    async def hear(self, after: str) -> list[Broadcast]:
        """Fails, then hears."""
        if self.failures:
            self.failures -= 1
            raise FrontierUnavailable("away")
        return await super().hear(after)


async def test_an_outage_is_waited_out_and_what_was_said_meanwhile_is_heard() -> None:
    control = Away(MemoryServer(), ("{crawler:0}:",))
    async with listening(control, []):
        await asyncio.sleep(0.01)
        assert await answer_to(control, (await control.set_rule(DEBUG)).call) == "OK"
    assert control.failures == 0


def test_a_new_level_reaches_loggers_that_were_used() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    log = structlog.get_logger()
    log.info("one")
    log.debug("no")
    logs.set_level("DEBUG")
    log.debug("two")
    assert logging.getLogger().level == logging.DEBUG
    logs.set_level("WARNING")
    log.info("no")
    log.warning("three")
    assert logging.getLogger().level == logging.WARNING
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["one", "two", "three"]
