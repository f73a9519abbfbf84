"""The settings of one spider: the project's, its own above them, SPIDERS above those, and the user's above all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from crawler.errors import ConfigError, UsageError
from crawler.model import Job
from crawler.response import Response
from crawler.robots.gate import RobotsGate
from crawler.settings import Settings
from crawler.spiders.base import Results, Spider
from crawler.spiders.registry import Registry
from crawler.testing import FakeFetcher
from crawler.visit.ready_spiders import ReadySpider, ReadySpiders
from crawler.worker.blame_slot import Making, NoSlot
from tests.memory import MemoryFrontier


class Shop(Spider):
    name = "shop"
    sitemap_rules: ClassVar = [("", "parse")]
    custom_settings: ClassVar = {"DOWNLOAD_DELAY": 3, "RETRY_TIMES": 4, "DEPTH_LIMIT": 5}

    def parse(self, response: Response) -> Results:
        return None

    def closed(self, reason: str) -> None:
        self.is_closed = True


class Untidy(Shop):
    name = "untidy"

    def closed(self, reason: str) -> None:
        raise KeyError(reason) if reason == "shutdown" else SystemExit(reason)


def ready(settings: Settings, *explicit: str) -> ReadySpider:
    return all_ready(settings, *explicit)("news", "shop")


def all_ready(settings: Settings, *explicit: str, job_of: Callable[[str], Job] = Job) -> ReadySpiders:
    registry = Registry()
    registry.add(Untidy)
    registry.add(Shop)
    registry.add(Demanding)
    gate = RobotsGate(MemoryFrontier(), FakeFetcher({}), worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    return ReadySpiders(registry, settings, explicit, gate, job_of)


class Demanding(Shop):
    name = "demanding"
    custom_settings: ClassVar = {"USER_AGENT": "own/1", "HTTP_AUTH": {"https://a.example": "me:secret"}}


def test_a_worker_leaves_a_spider_to_workers_that_have_what_it_sets_for_its_process() -> None:
    """It would crawl under another name, or without its login."""
    with pytest.raises(ConfigError) as caught:
        all_ready(Settings())("news", "demanding")
    assert "spider demanding has its own HTTP_AUTH, USER_AGENT, which hold for a whole process" in str(caught.value)
    assert "secret" not in str(caught.value)
    same = Settings(USER_AGENT="own/1", HTTP_AUTH={"https://a.example": "me:secret"})
    assert all_ready(same)("news", "demanding").spider.name == "demanding"
    others = Settings(USER_AGENT="me/1")
    assert all_ready(others, "USER_AGENT", "HTTP_AUTH")("news", "demanding"), "the command line wins"


@pytest.mark.parametrize(("reason", "error"), [("shutdown", "KeyError: 'shutdown'"), ("exit", "SystemExit: exit")])
async def test_what_closed_raises_is_logged_with_its_line_and_keeps_no_other_spider_from_closing(
    reason: str, error: str
) -> None:
    spiders = all_ready(Settings())
    made = [spiders("news", name) for name in ("untidy", "shop", "untidy")]
    assert made[0] is made[2]
    with capture_logs() as logs:
        await spiders.close(dict.fromkeys(spiders.epochs, reason))
    (line,) = logs
    assert (line["event"], line["spider"], line["error"]) == ("closed_failed", "untidy", error)
    assert line["line"].endswith(f"test_ready_spiders.py:{Untidy.closed.__code__.co_firstlineno + 1}")
    assert getattr(made[1].spider, "is_closed", False)


def test_settings_for_one_spider_stand_above_its_own_and_the_users_above_both() -> None:
    settings = Settings(
        DOWNLOAD_DELAY=1.0,
        RETRY_TIMES=1,
        SPIDERS={"shop": {"RETRY_TIMES": "6", "DEPTH_LIMIT": 7}, "other": {"rate": "1/h"}},
    )
    one = ready(settings, "DEPTH_LIMIT")
    assert (one.delay, one.retry.retry_times, one.scope.reason_out("http://a.example/", 8)) == (3.0, 6, None)


@pytest.mark.parametrize(
    ("own", "explicit", "delay"),
    [
        ({}, (), 3.0),
        ({"rate": "10/m"}, (), 6.0),
        ({"rate": "2/s"}, (), 0.5),
        ({"rate": "10/m", "DOWNLOAD_DELAY": 2}, (), 6.0),
        ({"rate": "60/m", "DOWNLOAD_DELAY": "2"}, (), 2.0),
        ({"rate": "10/m"}, ("DOWNLOAD_DELAY",), None),
    ],
)
def test_a_rate_is_the_delay_of_the_spider_for_each_host(
    own: dict[str, Any], explicit: Sequence[str], delay: float | None
) -> None:
    assert ready(Settings(DOWNLOAD_DELAY=0.1, SPIDERS={"shop": own}), *explicit).delay == delay


@pytest.mark.parametrize(("spider", "said"), [("site", ["goes_with_its_job"]), ("shop", [])])
def test_a_spider_that_has_a_queue_of_its_own_goes_with_the_job_all_the_same_and_that_is_said(
    spider: str, said: list[str]
) -> None:
    routed = Settings(ROUTES={"spider:shop": "eu"})
    with capture_logs() as lines:
        all_ready(routed, job_of=lambda name: Job(name, spider=spider))("news", "shop")
    assert [line["event"] for line in lines] == said


@pytest.mark.parametrize("follow", [True, False])
def test_a_job_that_follows_nothing_reads_no_links_and_no_sitemaps(follow: bool) -> None:
    one = all_ready(Settings(), job_of=lambda name: Job(name, follow=follow))("news", "shop")
    assert (one.sitemaps, one.scope.reason_out("http://a.example/", 1) is None) == (follow, follow)


def test_a_spider_that_ended_its_processes_is_not_made_again_for_that_job() -> None:
    made: list[Making] = []

    class Watching(NoSlot):
        @contextmanager
        def making(self, epoch: str, spider: str) -> Iterator[None]:
            made.append(Making(epoch, spider))
            yield

    registry = Registry()
    registry.add(Shop)
    gate = RobotsGate(MemoryFrontier(), FakeFetcher({}), worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    deadly = {Making("e1", "shop"): "it ended 3 processes"}
    spiders = ReadySpiders(registry, Settings(), (), gate, lambda name: Job(name, epoch=name[-2:]), Watching(), deadly)
    with pytest.raises(UsageError, match="it ended 3 processes"):
        spiders("news-e1", "shop")
    assert not made
    spiders("news-e2", "shop")
    spiders("news-e2", "shop")
    assert made == [Making("e2", "shop")]
