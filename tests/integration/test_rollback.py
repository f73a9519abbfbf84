"""A server that loses its last second, as after a power failure: what was lost is found again."""

from __future__ import annotations

import shutil

import pytest

from crawler.errors import FrontierUnavailable
from crawler.frontier import redis as module
from crawler.frontier.redis import RedisFrontier
from crawler.interfaces import Pace
from crawler.model import Claim, Done, Job, Request, Visit
from tests.valkey import Valkey

PACE = Pace(delay=0.0, concurrency=10)


async def test_links_of_a_page_whose_commit_was_lost_are_added_when_it_is_visited_again() -> None:
    with Valkey(appendonly=True) as server:
        frontier = RedisFrontier(server.url)
        await frontier.open()
        job = await frontier.create_job(Job("news"))
        await frontier.add(job, [Request("http://a.example/")], seed=True)
        (lease,) = (await frontier.claim("w1", 10, [job], PACE)).leases
        before = shutil.copytree(server.folder / "appendonlydir", server.folder / "before")
        found = Visit(Done(), links=(Request("http://a.example/next", depth=1),))
        assert await frontier.commit("w1", [(lease, found)], PACE) == [True]

        server.kill()
        shutil.rmtree(server.folder / "appendonlydir")
        before.rename(server.folder / "appendonlydir")
        server.start()
        await patiently(lambda: frontier.reap("w1"))
        (lease,) = (await frontier.claim("w2", 10, [job], PACE)).leases
        assert await frontier.commit("w2", [(lease, found)], PACE) == [True]
        claim: Claim = await frontier.claim("w2", 10, [job], PACE)
        assert [one.request.url for one in claim.leases] == ["http://a.example/next"]
        await frontier.close()


async def patiently(call: object) -> None:
    """The first call after a restart may meet a connection of before."""
    for _ in range(3):
        try:
            await call()  # type: ignore[operator]
            return
        except FrontierUnavailable:
            continue


async def test_what_is_known_of_many_jobs_is_bounded(valkey_server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 100)
    frontier = RedisFrontier(valkey_server.url, prefix="known")
    await frontier.open()
    for number in range(30):
        job = await frontier.create_job(Job(f"job{number}"))
        added = await frontier.add(job, [Request(f"http://a.example/{page}") for page in range(20)])
        assert added.new == 20
    assert len(frontier._known) == 5
    await frontier.close()
