"""The test web itself: what it says of its graph is what it serves, and what is asked of it is written down."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.breadth_first import Links, walk
from tests.webserver import (
    Answer,
    Folder,
    Running,
    Site,
    expected,
    flaky,
    huge,
    read_log,
    redirect,
    serve,
    slow,
    truncated,
)

WEBSERVER = Path(__file__).parent.parent / "webserver.py"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def text_of(client: aiohttp.ClientSession, url: str) -> str:
    async with client.get(url) as response:
        response.raise_for_status()
        return await response.text()


def test_one_seed_gives_one_site() -> None:
    one, same, other = Site(seed=1), Site(seed=1), Site(seed=2)
    assert [one.item(url) for url in sorted(one.truth())] == [same.item(url) for url in sorted(one.truth())]
    assert one.links(one.seeds[0]) != other.links(other.seeds[0])


@pytest.mark.parametrize(("pages", "hosts"), [(1, 1), (3, 8), (40, 1), (300, 4)])
def test_every_page_is_reachable_and_has_its_own_item(pages: int, hosts: int) -> None:
    site = Site(pages, hosts)
    assert set(expected(site)) == set(expected(site, seeds=site.seeds[:1])) == site.truth()
    assert len({site.item(url)["token"] for url in site.truth()}) == pages
    assert all(min(pages, 5) <= len(site.links(url)) <= 30 for url in site.truth())


def test_expected_keeps_within_hosts_and_depth() -> None:
    site = Site(200, 4)
    on_one = expected(site, site.seeds[:1], hosts=["127.0.1.1"])
    assert 1 < len(on_one) <= 50
    assert {url.split("/")[2] for url in on_one} == {"127.0.1.1"}
    assert set(expected(site, depth=0)) == set(site.seeds)
    assert max(expected(site, depth=2).values()) == 2


async def test_served_pages_hold_what_the_site_says(client: aiohttp.ClientSession) -> None:
    site = Site(30, 3)
    async with serve(site) as running:
        for url in site.truth():
            item, page = site.item(url), await text_of(client, url)
            assert f"<title>{item['title']}</title>" in page
            assert item["token"] in page
            links = Links(url)
            links.feed(page)
            assert [link for link in links.found if link in site.truth() and link != url] == [
                link for link in item["links"] if link != url
            ]
        assert {hit.url for hit in running.log} == site.truth()
        assert {len(running.hits(url)) for url in site.truth()} == {1}


async def test_an_independent_crawl_finds_the_truth() -> None:
    site = Site(60, 1)
    async with serve(site) as running:
        assert set(await asyncio.to_thread(walk, running.seeds[0])) == site.truth()


async def test_requests_are_logged_with_who_else_was_there(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    site = Site(10, 2)
    site.on("/", slow(0.2))
    async with serve(site, log=tmp_path / "log") as running:
        await asyncio.gather(*(text_of(client, url) for url in (*[site.url(0)] * 3, site.url(1))))
        assert [hit.concurrent for hit in running.log if hit.host == "127.0.1.1"] == [1, 2, 3]
        assert [hit.concurrent for hit in running.log if hit.host == "127.0.1.2"] == [1]
        assert [hit.number for hit in running.hits(site.url(0))] == [1, 2, 3]
        assert running.log[0].agent.startswith("Python")
        assert read_log(tmp_path / "log") == running.log


async def statuses(client: aiohttp.ClientSession, url: str, times: int) -> list[int]:
    found = []
    for _ in range(times):
        async with client.get(url, allow_redirects=False) as response:
            found.append(response.status)
    return found


async def test_pages_misbehave_as_told(client: aiohttp.ClientSession) -> None:
    site = Site(20, 2)
    site.on(site.path(2), flaky(2))
    site.on(site.path(3), flaky(1, 429, "7"))
    site.on(site.path(4), redirect("/elsewhere"))
    site.on("/extra", lambda hit, page: Answer(b"mine"))
    site.on("/s", lambda hit, page: Answer(status=404), host="127.0.1.2")
    async with serve(site):
        assert await statuses(client, site.url(2), 4) == [503, 503, 200, 200]
        async with client.get(site.url(3)) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
        async with client.get(site.url(4), allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
        assert await text_of(client, f"http://127.0.1.1:{site.port}/extra") == "mine"
        assert await statuses(client, site.url(5), 1) == [404]
        assert "Allow: /" in await text_of(client, f"http://127.0.1.1:{site.port}/robots.txt")


async def test_bodies_break_off_and_grow_huge(client: aiohttp.ClientSession) -> None:
    site = Site(20, 1)
    site.on(site.path(1), truncated(1))
    site.on(site.path(2), huge(1_000_000))
    async with serve(site):
        with pytest.raises(aiohttp.ClientPayloadError):
            await text_of(client, site.url(1))
        assert site.item(site.url(1))["token"] in await text_of(client, site.url(1))
        assert 900_000 < len(await text_of(client, site.url(2))) <= 1_000_000


async def test_a_server_closes_while_requests_are_open(client: aiohttp.ClientSession) -> None:
    site = Site(5, 1)
    site.on("/", slow(60))
    async with serve(site) as running:
        request = asyncio.create_task(text_of(client, site.url(0)))
        await running.until(1)
    with pytest.raises(aiohttp.ClientError):
        await request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "web" / "sub").mkdir(parents=True)
    (tmp_path / "web" / "index.html").write_text('<a href="sub">sub</a> <a href="a.css">css</a>')
    (tmp_path / "web" / "sub" / "index.html").write_text('<a href="../b%20c.html">b</a> <a href="no.html">no</a>')
    (tmp_path / "web" / "b c.html").write_text("end")
    (tmp_path / "web" / "a.css").write_text("p {}")
    (tmp_path / "secret.html").write_text("secret")
    return tmp_path / "web"


async def test_a_folder_is_served_as_web_servers_do(client: aiohttp.ClientSession, folder: Path) -> None:
    site = Folder(folder)
    async with serve(site) as running:
        top = running.seeds[0]
        async with client.get(f"{top}sub", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (301, "/sub/")
        async with client.get(f"{top}a.css") as response:
            assert response.content_type == "text/css"
        assert await statuses(client, f"{top}%2e%2e/secret.html", 1) == [404]
        assert await statuses(client, f"{top}no.html", 1) == [404]
        assert await asyncio.to_thread(walk, top) == {
            top: [f"{top}sub", f"{top}a.css"],
            f"{top}sub/": [f"{top}b%20c.html", f"{top}sub/no.html"],
            f"{top}b%20c.html": [],
        }


def test_the_program_says_when_it_is_ready_and_keeps_its_log(tmp_path: Path) -> None:
    log = tmp_path / "hits.jsonl"
    command = [sys.executable, str(WEBSERVER), "--pages", "40", "--log", str(log), "--seed", "5", "--disallow", "/x"]
    with subprocess.Popen([*command, "--flaky", "0.2:1"], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        ready = json.loads(program.stdout.readline())
        found = walk(ready["seeds"][0])
        hits = read_log(log)
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
    assert ready["pages"] == 40
    assert {hit.url for hit in hits} >= set(found)
    assert 0 < len(found) < 40  # pages that answer 503 once are lost to a crawl without retries


def test_running_knows_nothing_before_the_first_request() -> None:
    running = Running(Site(5, 1))
    assert (running.log, running.hits(running.seeds[0])) == ([], [])


async def test_names_of_one_address_are_hosts_of_their_own() -> None:
    site = Site(6, 3, names=True)
    assert site.seeds[0].startswith("http://n1.example")
    assert "127.0.1.1 n3.example\n" in site.hosts_file
    async with serve(site) as running:
        for host in site.hosts[:2]:
            reader, writer = await asyncio.open_connection("127.0.1.1", site.port)
            writer.write(f"GET {site.path(0)} HTTP/1.1\r\nHost: {host}:{site.port}\r\n\r\n".encode())
            assert (await reader.readline()).split()[1] == (b"200" if host == "n1.example" else b"404")
            writer.close()
    assert [(hit.host, hit.concurrent, hit.at_address) for hit in running.log] == [
        ("n1.example", 1, 1),
        ("n2.example", 1, 1),
    ]
