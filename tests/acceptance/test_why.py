"""What people are told when they ask why nothing happens: of one URL by `why`, of whole jobs by `status`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.valkey import Valkey
from tests.webserver import Running, redirect, slow
from tests.website import Answer

URL = "http://127.0.0.1/"
SPIDER = "from crawler import Spider\nclass S(Spider):\n    name = 'shop'\n    def parse(self, response): ...\n"


async def why(shell: Shell, url: str, *arguments: str) -> dict[str, Any]:
    """What the only job that is looked at says of a URL."""
    told = json.loads((await shell.run("why", url, "--json", *arguments, *LOCAL)).out)
    (job,) = told["jobs"]
    assert told["known"] == job["known"]
    return dict(job)


@asynccontextmanager
async def worker(shell: Shell, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker at work in the background."""
    process = await shell.start("worker", "--processes", "1", "-s", "GRACE_SECONDS=0", *LOCAL, *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def until(shell: Shell, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until it holds of what `status --json` says of the first job."""
    async with asyncio.timeout(30):
        while True:
            jobs = json.loads((await shell.run("status", "--json")).out)["jobs"]
            if jobs and holds(jobs[0]):
                return dict(jobs[0])


# ---------------------------------------------------------------------------------------------------------
# why


async def test_what_became_of_each_url_of_a_crawl(shell: Shell, site: Running) -> None:
    web, (seed, _) = site.site, site.seeds
    origin = seed.partition("/s")[0]
    web.robots += "Disallow: /s3\n"  # type: ignore[attr-defined]
    web.on("/s1/p8", redirect("/s6/p6.html"))  # type: ignore[attr-defined]
    web.on("/s4/p4", lambda hit, page: Answer(status=404))  # type: ignore[attr-defined]
    await shell.run("crawl", *site.seeds, "-o", "items.jsonl", *LOCAL)

    (read,) = (await why(shell, seed))["told"]
    assert re.match(r"done: fetched and read .* UTC by .*: status 200, .* kB, 1 item, ", read)
    (forbidden,) = (await why(shell, f"{origin}/s3/p10.html#part"))["told"]
    assert re.match("skipped: robots.txt forbids it.* UTC", forbidden)
    (moved,) = (await why(shell, f"{origin}/s1/p8.html"))["told"]
    assert f"it redirects elsewhere: {origin}/s6/p6.html" in moved
    assert (await why(shell, f"{origin}/s6/p6.html"))["found"] == [f"redirected from {origin}/s1/p8.html"]
    lost = await why(shell, f"{origin}/s4/p4.html")
    assert re.match("dead: given up .* after the first try: http_404: 404 Not Found", lost["told"][0])
    identity = lost["sightings"][0]["letter"]["id"]
    assert f"crawler redrive {identity}" in lost["told"][1]
    assert identity in (await shell.run("why", f"{origin}/s4/p4.html")).out

    stranger = await shell.run("why", "http://127.0.1.9/", *LOCAL)
    assert stranger.code == 1
    assert "unknown: nobody seeded it" in stranger.out
    assert "stays on the hosts that were seeded, and 127.0.1.9 was not" in stranger.out
    unlinked = await shell.run("why", f"{origin}/s3/new.html", *LOCAL)
    assert f"robots.txt of {origin} forbids crawler to fetch it" in unlinked.out
    assert "skipped" in (await shell.run("status")).out


async def test_what_a_pending_one_waits_for(shell: Shell) -> None:
    await shell.run("seed", URL, f"{URL}2", f"{URL}3", *LOCAL)
    told = await why(shell, f"{URL}3")
    assert told["told"] == ["pending: 2 requests to 127.0.0.1 before it"]
    assert told["found"] == ["a seed"]
    assert told["waits_for"] == ["no worker is running; start one with: crawler worker", "the 2 requests before it"]
    assert told["rules"] == [
        "robots.txt of http://127.0.0.1 is not cached; a worker fetches it before the next page of that host"
    ]
    await shell.run("control", "pause", "127.0.0.1", "--why", "its owner asked")
    ended = await shell.run("why", URL)
    assert ended.code == 0
    assert re.search(
        "host 127.0.0.1 is paused since .* UTC: its owner asked .*; crawler control resume 127.0.0.1", ended.out
    )


async def test_a_host_that_is_asked_for_its_robots_txt(shell: Shell, site: Running) -> None:
    """All its pages wait for that, so everything that explains says so, and who asks."""
    site.site.on("/robots.txt", slow(600))  # type: ignore[attr-defined]
    seed, other = f"{site.seeds[0]}?1", f"{site.seeds[0]}?2"
    await shell.run("seed", seed, other, *LOCAL)
    async with worker(shell):
        told = await until(shell, lambda job: job["asking"] and job["pending"])
        assert (told["asking"], told["processing"]) == (1, 1)
        assert "1 asked for their robots.txt now" in (await shell.run("status")).out
        (host,) = json.loads((await shell.run("inspect", "hosts", "--json")).out)
        name = host["turn"]["asking"]
        assert f"robots.txt, which {name} asks for" in " ".join(
            (await shell.run("inspect", "hosts", COLUMNS="200")).out.split()
        )
        waits = [line for url in (seed, other) for line in (await why(shell, url))["waits_for"]]
    assert f"127.0.1.1 is being asked for its robots.txt by {name} (its lease: " in waits[0]


async def test_of_several_jobs_those_that_know_it_are_shown(shell: Shell) -> None:
    await shell.run("seed", URL, "--job", "one", *LOCAL)
    await shell.run("seed", f"{URL}2", "--job", "two", *LOCAL)
    ended = await shell.run("why", URL)
    assert re.findall(r"^job +(\w+)", ended.out, re.MULTILINE) == ["one"]
    assert "not known to 1 other job" in ended.out
    assert (await shell.run("why", URL, "--job", "two")).code == 1
    assert "no job is named 'three'" in (await shell.run("why", URL, "--job", "three")).error


@pytest.mark.parametrize(
    ("url", "reason"),
    [("ftp://127.0.0.1/", "only http and https are"), ("127.0.0.1/x", "write https://127.0.0.1/x"), ("", "empty URL")],
)
async def test_what_is_no_url_is_told_without_a_server(bare: Shell, url: str, reason: str) -> None:
    ended = await bare.run("why", url)
    assert ended.code == 1
    assert reason in ended.error
    told = json.loads((await bare.run("why", url, "--json")).out)
    assert (told["known"], reason in told["refused"]) == (False, True)


async def test_why_starts_no_server_when_there_is_nothing_to_tell(bare: Shell) -> None:
    ended = await bare.run("why", URL)
    assert (ended.code, "no jobs yet" in ended.out) == (1, True)
    assert not (bare.folder / "data").exists()


async def test_a_forbidden_address_is_told_with_the_setting_that_permits_it(shell: Shell) -> None:
    await shell.run("seed", URL, *LOCAL)
    assert "10.0.0.1 is a forbidden address (private); to permit it" in (await shell.run("why", "http://10.0.0.1/")).out


# ---------------------------------------------------------------------------------------------------------
# status


async def test_a_spider_that_no_worker_has_is_told_once_and_shown(shell: Shell) -> None:
    file = shell.folder / "spiders" / "shop.py"
    file.parent.mkdir()
    file.write_text(SPIDER)
    await shell.run("seed", URL, f"{URL}2", "http://127.0.0.2/", "--spider", "shop", *LOCAL)
    file.unlink()
    async with worker(shell) as process:
        told = await until(shell, lambda job: bool(job["no_spider"]) and job["processing"] == 0)
        assert "1 worker cannot use spider shop: no spider is named 'shop'" in told["no_spider"][0]
        assert "its pages wait for a worker that can" in told["no_spider"][0]
        assert told["dead"] == 0
        waits = (await why(shell, URL))["waits_for"]
        assert any("a worker cannot use spider shop" in one for one in waits)
        process.terminate()
        assert process.stderr is not None
        log = (await process.stderr.read()).decode()
    assert log.count("spider_unusable") == 1


async def test_a_full_outbox_says_how_to_empty_it(shell: Shell, site: Running) -> None:
    await shell.run("seed", *site.seeds, *LOCAL)
    async with worker(shell, "-s", "OUTBOX_LIMIT=1", "-s", "LEASE_SECONDS=1"):
        told = await until(shell, lambda job: "outbox" in job["idle"])
    assert "no exporter is running; start: crawler export --job default -o FILE --follow" in told["idle"]


async def test_workers_for_other_jobs_are_not_counted(shell: Shell) -> None:
    await shell.run("seed", URL, "--job", "mine", *LOCAL)
    async with worker(shell, "--job", "theirs", "-s", "LEASE_SECONDS=1"):
        told = await until(shell, lambda job: "for others" in job["idle"])
    assert told["idle"] == "no worker works for this job (1 worker for others); crawler worker --job mine"


async def test_a_job_waits_for_the_workers_of_its_queue_and_seed_and_status_say_so(shell: Shell, site: Running) -> None:
    seed, other = site.seeds[:2]
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "shop.py").write_text(SPIDER)
    (shell.folder / "settings.py").write_text('ROUTES = {"spider:shop": "eu", "job:other*": "slow"}')
    async with worker(shell, "--queue", "slow", "--job", "other-1", "--job", "s1", "-s", "LEASE_SECONDS=2"):
        async with asyncio.timeout(30):
            while not json.loads((await shell.run("status", "--json")).out)["workers"]:
                pass
        seeded = await shell.run("seed", seed, "--spider", "shop", "--job", "s1", *LOCAL)
        assert seeded.code == 0
        assert "nobody_serves" in seeded.err
        assert "nobody_serves" not in (await shell.run("seed", other, "--job", "other-1", *LOCAL)).err
        async with asyncio.timeout(30):
            while not (jobs := json.loads((await shell.run("status", "--json")).out)["jobs"])[1]["done"]:
                pass
    assert (jobs[0]["job"], jobs[0]["pending"], jobs[0]["processing"]) == ("s1", 1, 0)
    ended = await shell.run("worker", "--queue", "eu,default", "--until-finished", "--processes", "1", *LOCAL)
    assert ended.code == 0, ended.err
    jobs = {job["job"]: job["done"] for job in json.loads((await shell.run("status", "--json")).out)["jobs"]}
    assert jobs["s1"] == 1


async def test_requests_without_an_answer_are_counted_by_kind(shell: Shell) -> None:
    await shell.run("crawl", "http://127.0.0.1:1/", "-o", "items.jsonl", *LOCAL)
    ended = await shell.run("status")
    assert re.search(r"answers +no answer (\d+) \(connect \1\)", ended.out)


async def test_watching_goes_on_when_the_server_is_back(shell: Shell) -> None:
    with Valkey(appendonly=True) as server:
        shell.environment["REDIS_URL"] = server.url
        await shell.run("seed", URL, *LOCAL)
        process = await shell.start("status", "--watch", "--json", "-s", "REDIS_TIMEOUT=1")
        assert process.stdout is not None
        said = [json.loads(await process.stdout.readline())]
        server.kill()
        async with asyncio.timeout(30):
            while "error" not in said[-1]:
                said.append(json.loads(await process.stdout.readline()))
            assert "no answer from the queue server" in said[-1]["error"]
            server.start()
            while "error" in said[-1]:
                said.append(json.loads(await process.stdout.readline()))
        assert said[-1]["jobs"][0]["known"] == said[0]["jobs"][0]["known"] == 1
        process.terminate()
        await process.communicate()


async def test_watching_says_so_when_the_server_has_come_back_empty(shell: Shell) -> None:
    with Valkey() as server:
        shell.environment["REDIS_URL"] = server.url
        await shell.run("seed", URL, *LOCAL)
        process = await shell.start("status", "--watch", "--json", "-s", "REDIS_TIMEOUT=1")
        assert process.stdout is not None
        said = [json.loads(await process.stdout.readline())]
        server.restart()
        async with asyncio.timeout(30):
            while said[-1]["jobs"] or "error" in said[-1]:
                said.append(json.loads(await process.stdout.readline()))
        assert any("emptied or replaced" in one.get("error", "") for one in said)
        process.terminate()
        await process.communicate()
