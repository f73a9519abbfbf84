"""A crawl that ends early: by a limit, or because its spider says so; what it says of that, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Running

FAST = (*LOCAL, "-s", "CONCURRENT_REQUESTS_PER_DOMAIN=8", "-s", "ROBOTSTXT_OBEY=false")

SPIDER = """
from crawler import CloseSpider, Spider


class News(Spider):
    name = "news"
    custom_settings = {settings}

    def parse(self, response):
        yield {{"url": response.url}}
        {then}
        yield from response.follow_all(css="a")

    def process_item(self, item):
        {item}
        return item

    def closed(self, reason):
        open("closed.txt", "a").write(reason + "\\n")
"""


def write(shell: Shell, *, then: str = "", item: str = "", **settings: Any) -> None:
    """A spider that follows all links, and does `then` on each page and `item` with each item."""
    (shell.folder / "spiders").mkdir(exist_ok=True)
    text = SPIDER.format(settings=repr(settings), then=then or "pass", item=item or "pass")
    (shell.folder / "spiders" / "news.py").write_text(text)


def crawl(site: Running, *options: str) -> tuple[str, ...]:
    """The command."""
    return ("crawl", site.seeds[0], "--spider", "news", "--job", "j", "-o", "items.jsonl", *FAST, *options)


async def figures(shell: Shell, site: Running, *options: str) -> dict[str, Any]:
    """Crawl, and return the final figures."""
    ended = await shell.run(*crawl(site, "--json", *options))
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def reasons(shell: Shell) -> list[str]:
    """What `closed` was called with since the last call."""
    file = shell.folder / "closed.txt"
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def pages_asked(site: Running) -> int:
    """Requests that the site has seen, without robots.txt."""
    return sum(hit.path != "/robots.txt" for hit in site.log)


async def test_ten_pages_then_twenty_then_all(shell: Shell, site: Running) -> None:
    write(shell)
    found = await figures(shell, site, "--limit", "10", "--processes", "2")
    assert (found["finish_reason"], found["pages"], found["item_scraped_count"]) == ("closespider_pagecount", 10, 10)
    assert pages_asked(site) == 10
    assert set(reasons(shell)) == {"closespider_pagecount"}
    left = found["queue/pending"]
    status = await shell.run("status")
    assert f"closespider_pagecount; {left} requests were left pending" in " ".join(status.out.split())
    assert "limits   10 pages" in status.out
    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert (job["closed"], job["finished"], job["pending"]) == ("closespider_pagecount", True, left)
    assert job["result"]["state"] == "SUCCESS"
    assert "closespider_pagecount" in job["result"]["reason"]

    again = await figures(shell, site, "--limit", "10")
    assert (again["finish_reason"], again["pages"], pages_asked(site)) == ("already_finished", 10, 10)
    more = await figures(shell, site, "--limit", "20")
    assert (more["finish_reason"], more["pages"], pages_asked(site)) == ("closespider_pagecount", 20, 20)
    rest = await figures(shell, site)
    assert (rest["finish_reason"], rest["queue/pending"]) == ("finished", 0)
    assert rest["pages"] > 20
    lines = [json.loads(line)["url"] for line in (shell.folder / "items.jsonl").read_text().splitlines()]
    assert len(lines) == len(set(lines)) == rest["pages"]


async def test_a_page_that_is_left_says_why(shell: Shell, site: Running) -> None:
    write(shell)
    await figures(shell, site, "--limit", "1")
    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert job["pending"]
    read = {hit.url for hit in site.log}
    for url in sorted(site.site.truth()):  # type: ignore[attr-defined]
        (one,) = json.loads((await shell.run("why", url, "--job", "j", "--json")).out)["jobs"]
        said = one["result"]
        if url not in read and said["state"] != "UNKNOWN":
            break
    assert said["state"] == "REVOKED"
    assert said["reason"].startswith("not fetched: the job was closed: closespider_pagecount")


async def test_a_callback_closes_the_job(shell: Shell, site: Running) -> None:
    write(shell, then='raise CloseSpider("found it")')
    found = await figures(shell, site, "--strict", "--processes", "1")
    assert (found["finish_reason"], found["pages"], found["items_exported"]) == ("found it", 1, 1)
    assert reasons(shell) == ["found it"]  # once in a worker process
    ended = await shell.run(*crawl(site))
    assert ended.code == 0
    assert "control resume job:j" in ended.err
    assert pages_asked(site) == 1

    write(shell)
    resumed = await shell.run("control", "resume", "job:j")
    assert "it was closed: found it" in resumed.out
    await shell.run("redrive", "--all", "--job", "j")
    found = await figures(shell, site)
    assert found["finish_reason"] in ("finished", "already_finished")


async def test_process_item_closes_it_and_leaves_out_its_item(shell: Shell, site: Running) -> None:
    write(shell, item='raise CloseSpider("full")')
    found = await figures(shell, site)
    assert (found["finish_reason"], found["pages"], found["items_exported"]) == ("full", 1, 0)
    assert found["item_dropped_reasons_count/closed"] == 1


async def test_settings_of_a_spider_close_its_jobs(shell: Shell, site: Running) -> None:
    write(shell, CLOSESPIDER_ITEMCOUNT=5)
    found = await figures(shell, site, "--concurrency", "2", "--processes", "1")
    assert found["finish_reason"] == "closespider_itemcount"
    assert 5 <= found["items_exported"] <= 5 + 2


async def test_errors_close_it_and_the_exit_code_says_that_more_failed_than_not(shell: Shell, site: Running) -> None:
    write(shell, then='raise ValueError("x")', CLOSESPIDER_ERRORCOUNT=1)
    ended = await shell.run(*crawl(site, "--json"))
    assert json.loads(ended.out)["finish_reason"] in ("closespider_errorcount", "finished")
    assert ended.code == 1


async def test_time_closes_it(shell: Shell, site: Running) -> None:
    write(shell)
    found = await figures(shell, site, "-s", "CLOSESPIDER_TIMEOUT=0.5", "-s", "DOWNLOAD_DELAY=1")
    assert found["finish_reason"] == "closespider_timeout"
    assert found["queue/pending"]


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
async def test_a_limit_is_a_number_of_pages(shell: Shell, site: Running, limit: str) -> None:
    write(shell)
    assert (await shell.run(*crawl(site, "--limit", limit))).code == 2


async def test_a_fleet_is_limited_by_seed(shell: Shell, site: Running) -> None:
    write(shell)
    await shell.run("seed", site.seeds[0], "--spider", "news", "--job", "j", "--limit", "7", *FAST)
    workers = [await shell.start("worker", "--until-finished", "--processes", "2", *FAST) for _ in range(2)]
    for worker in workers:
        await asyncio.wait_for(worker.communicate(), 60)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert pages_asked(site) == 7
    said = await shell.run("seed", site.seeds[0], "--spider", "news", "--job", "j", *FAST)
    assert "job_is_closed" in said.err
    await shell.run("seed", site.seeds[0], "--spider", "news", "--job", "j", "--limit", "9", *FAST)
    assert (await shell.run("worker", "--until-finished", *FAST)).code == 0
    assert pages_asked(site) == 9


async def test_a_stopped_worker_says_shutdown(shell: Shell, site: Running) -> None:
    write(shell)
    await shell.run("seed", site.seeds[0], "--spider", "news", "--job", "j", *FAST)
    worker = await shell.start("worker", "--processes", "1", *FAST, "-s", "DOWNLOAD_DELAY=2")
    async with asyncio.timeout(60):
        while not pages_asked(site):
            await shell.run("status")
    worker.send_signal(signal.SIGTERM)
    await worker.communicate()
    assert reasons(shell) == ["shutdown"]
