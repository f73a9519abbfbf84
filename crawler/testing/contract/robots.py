"""robots.txt in a fleet: one gate asks, the others wait or visit other hosts; a day later one asks again."""

from __future__ import annotations

import asyncio
from collections import Counter

from crawler.interfaces import Backend
from crawler.model import Request
from crawler.response import Response
from crawler.robots.gate import RobotsGate, Verdict
from crawler.testing import FakeFetcher
from crawler.testing.contract.asking import ask, ask_all, end, held
from crawler.testing.contract.world import World

RULES = b"User-agent: *\nDisallow: /private\n"
STRICTER = b"User-agent: *\nDisallow: /\n"
CACHE = 0.5  # seconds: a short day


class Fleet:
    """Gates of several processes on one frontier, with one web and equal clocks."""

    def __init__(self, gates: list[RobotsGate], web: FakeFetcher) -> None:
        self.gates = gates
        self.web = web
        self.now = 1_000_000.0
        self.frontier: Backend

    @classmethod
    async def of(cls, world: World, web: FakeFetcher, count: int = 4) -> Fleet:
        """Add `count` processes."""
        fleet = cls([], web)
        for number in range(count):
            frontier = fleet.frontier = await world.client()
            fleet.gates.append(
                RobotsGate(
                    frontier.asking,
                    web,
                    worker=f"w{number}",
                    user_agent="t/1",
                    cache_seconds=CACHE,
                    max_delay=60,
                    clock=lambda: fleet.now,
                )
            )
        return fleet

    async def words(self, url: str) -> Counter[str]:
        """Ask all gates at the same moment, and count their verdicts by word."""
        return Counter(verdict.word for verdict in await self.verdicts(url))

    async def verdicts(self, url: str) -> list[Verdict]:
        """Do the same, and return the verdicts."""
        return await ask_all(self.frontier, self.gates, url)

    async def day_after(self, world: World) -> None:
        """Let all known rules become too old."""
        await world.pass_time(CACHE)
        self.now += 2.0  # a process keeps what it has read for a second at least


async def test_robots_txt_is_asked_for_once_by_a_fleet(world: World) -> None:
    fleet = await Fleet.of(world, FakeFetcher({"http://a.example/robots.txt": RULES}))
    await fleet.words("http://a.example/1")
    for _ in range(3):
        assert await fleet.words("http://a.example/1") == {"allow": 4}
        assert await fleet.words("http://a.example/private") == {"disallow": 4}
    assert fleet.web.urls == ["http://a.example/robots.txt"]


class SlowWeb(FakeFetcher):
    """Delays its answers for one host until the test sets `go_on`."""

    def __init__(self, slow: str) -> None:
        super().__init__({f"http://{host}.example/robots.txt": RULES for host in "ab"})
        self.slow = f"http://{slow}.example/robots.txt"
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def fetch(self, request: Request) -> Response:
        if request.url == self.slow:
            self.asked.set()
            await self.go_on.wait()
        return await super().fetch(request)


async def test_while_one_asks_nobody_fetches_a_page_and_other_hosts_go_on(world: World) -> None:
    web = SlowWeb("a")
    fleet = await Fleet.of(world, web)
    frontier = await world.client()
    leases = await held(frontier, "http://a.example/", "w0", "w1", "w2", "w3")
    first = asyncio.create_task(fleet.gates[0].check(leases[0]))
    await web.asked.wait()
    for number in (1, 2, 3):
        verdict = await fleet.gates[number].check(leases[number])
        assert (verdict.word, verdict.asked_at) == ("again", None), "the host was not asked by this one"
        await end(frontier, f"w{number}", leases[number])
    await fleet.words("http://b.example/1")
    assert await fleet.words("http://b.example/1") == {"allow": 4}
    web.go_on.set()
    assert (await first).word == "again", "the turn went to robots.txt"
    await end(frontier, "w0", leases[0])
    assert await fleet.words("http://a.example/") == {"allow": 4}
    assert sorted(web.urls) == ["http://a.example/robots.txt", "http://b.example/robots.txt"]


async def test_old_rules_are_refreshed_by_one_of_the_fleet(world: World) -> None:
    web = FakeFetcher({"http://a.example/robots.txt": [RULES, STRICTER]})
    fleet = await Fleet.of(world, web)
    await fleet.words("http://a.example/1")
    assert await fleet.words("http://a.example/1") == {"allow": 4}
    await fleet.day_after(world)
    assert (await fleet.words("http://a.example/1"))["allow"] == 0, "nothing is fetched by rules that are too old"
    assert await fleet.words("http://a.example/1") == {"disallow": 4}
    assert len(web.urls) == 2


async def test_rules_are_used_for_no_longer_than_a_day_by_whoever_reads_them_late(world: World) -> None:
    web = FakeFetcher({"http://a.example/robots.txt": [RULES, STRICTER]})
    fleet = await Fleet.of(world, web, count=2)
    (early, late), frontier = fleet.gates, fleet.frontier
    await ask(frontier, early, "http://a.example/1")
    fleet.now += 100.0  # by this clock the rules have been too old for long, though the server still has them
    assert (await ask(frontier, late, "http://a.example/1")).word == "allow"
    await fleet.day_after(world)
    assert (await ask(frontier, late, "http://a.example/1")).word == "again"
    assert (await ask(frontier, late, "http://a.example/1")).word == "disallow"


async def test_what_was_good_once_does_not_outlive_an_error(world: World) -> None:
    """RFC 9309 §2.3.1.4: an unreachable robots.txt forbids all. The old copy is not used; a gate asks again soon."""
    error = Response("http://a.example/robots.txt", status=503)
    fleet = await Fleet.of(world, FakeFetcher({"http://a.example/robots.txt": [RULES, error]}))
    await fleet.words("http://a.example/1")
    assert await fleet.words("http://a.example/1") == {"allow": 4}
    await fleet.day_after(world)
    await fleet.words("http://a.example/1")
    verdicts = await fleet.verdicts("http://a.example/1")
    assert {verdict.word for verdict in verdicts} == {"unreachable"}
    assert all(0 < verdict.delay <= 300 for verdict in verdicts)
    assert "503" in verdicts[0].why
    assert len(fleet.web.urls) == 2


async def test_a_host_that_asks_for_an_hour_is_left_alone_for_an_hour(world: World) -> None:
    busy = Response("http://a.example/robots.txt", status=503, headers={"retry-after": "3600"})
    fleet = await Fleet.of(world, FakeFetcher({"http://a.example/robots.txt": busy}))
    await fleet.words("http://a.example/1")
    fleet.now += 1_000.0
    verdicts = await fleet.verdicts("http://a.example/1")
    assert {round(verdict.delay) for verdict in verdicts} == {2_600}
    assert len(fleet.web.urls) == 1


async def test_http_and_https_are_two_origins(world: World) -> None:
    web = FakeFetcher({"http://a.example/robots.txt": RULES, "https://a.example/robots.txt": STRICTER})
    fleet = await Fleet.of(world, web, count=1)
    for _ in range(2):
        words = [await fleet.words(f"{scheme}://a.example/1") for scheme in ("http", "https")]
    assert words == [{"allow": 1}, {"disallow": 1}]
