"""The gate's memory of robots.txt is bounded, whatever hosts there are."""

from __future__ import annotations

import asyncio
import gc

import pytest

from crawler import gate
from crawler.frontier.memory import MemoryFrontier
from crawler.gate import RobotsGate
from crawler.model import Request
from crawler.testing import FakeFetcher

RULES = b"User-agent: *\nDisallow: /private\n"


def made(pages: dict[str, bytes]) -> tuple[RobotsGate, FakeFetcher]:
    fetcher = FakeFetcher(pages)
    return RobotsGate(MemoryFrontier(), fetcher, user_agent="t/1", cache_seconds=60, max_delay=60), fetcher


async def test_large_rules_are_kept_for_few_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_BYTES", 10_000)
    large = RULES + b"#" * 3_000
    robots, fetcher = made({f"http://h{n}.example/robots.txt": large for n in range(20)})
    for number in range(20):
        assert (await robots.check(Request(f"http://h{number}.example/"))).word == "again"
        assert (await robots.check(Request(f"http://h{number}.example/private"))).word == "disallow"
    assert len(robots._known) == 3
    assert (await robots.check(Request("http://h0.example/private"))).word == "disallow", "read from the fleet's copy"
    assert len(fetcher.requests) == 20
    gc.collect()
    assert len(robots._locks) == 0


async def test_one_of_many_visits_asks_for_robots_txt() -> None:
    robots, fetcher = made({"http://a.example/robots.txt": RULES})
    words = await asyncio.gather(*(robots.check(Request(f"http://a.example/{n}")) for n in range(50)))
    assert fetcher.urls == ["http://a.example/robots.txt"]
    assert [verdict.word for verdict in words].count("again") == 1
