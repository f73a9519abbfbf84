"""Single pages without a queue server: what a worker would refuse is refused, and a host has its delay."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.one_page import Pages, open_pages, saved_page
from crawler.errors import FetchError, Refused, UsageError
from crawler.model import Request
from crawler.settings import Settings
from crawler.spiders.registry import find_spiders
from tests.webserver import Running, Site, flaky, redirect, serve, truncated

LOCAL = Settings(ALLOWED_NETWORKS=("127.0.0.0/8",), DOWNLOAD_DELAY=0)


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    async with serve(Site(pages=5, hosts=1)) as running:
        yield running


@asynccontextmanager
async def opened(folder: Path, settings: Settings = LOCAL) -> AsyncIterator[Pages]:
    async with open_pages(Config(settings, {}, folder), find_spiders(folder)) as pages:
        yield pages


def here(site: Running) -> str:
    return site.seeds[0].removesuffix("/s0/p0.html")


def asked(site: Running) -> list[str]:
    return [hit.path for hit in site.log]


async def test_a_page_with_its_redirects_and_one_robots_txt(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/from", redirect("/to"))
    site.site.on("/to", redirect(site.site.path(3)))
    async with opened(tmp_path) as pages:
        response = await pages.fetch(Request(f"{here(site)}/from"))
        assert response.url == site.site.url(3)
        assert response.css("title::text").get()
        await pages.fetch(Request(site.site.url(4)))
    assert asked(site) == ["/robots.txt", "/from", "/to", site.site.path(3), site.site.path(4)]


async def test_a_redirect_and_a_failure_are_answers_when_asked_for(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/from", redirect("/to"))
    site.site.on("/busy", flaky(1, 503))
    async with opened(tmp_path) as pages:
        moved = await pages.fetch(Request(f"{here(site)}/from"), redirects=False)
        busy = await pages.fetch(Request(f"{here(site)}/busy"))
    assert (moved.status, moved.headers["location"], busy.status) == (302, "/to", 503)


async def test_a_redirect_that_leads_nowhere_is_an_error(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/round", redirect("/round"))
    async with opened(tmp_path) as pages:
        with pytest.raises(FetchError, match="more than 20 redirects"):
            await pages.fetch(Request(f"{here(site)}/round"))


async def test_what_robots_txt_forbids_is_an_error_with_the_setting(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.robots = "User-agent: *\nDisallow: /\n"
    async with opened(tmp_path) as pages:
        with pytest.raises(FetchError, match=r"forbids it \(Disallow: /.*-s ROBOTSTXT_OBEY=false"):
            await pages.fetch(Request(site.site.url(3)))
    assert asked(site) == ["/robots.txt"]


async def test_a_request_may_pass_robots_txt_by(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.robots = "User-agent: *\nDisallow: /\n"
    async with opened(tmp_path) as pages:
        response = await pages.fetch(Request(site.site.url(3), meta={"dont_obey_robotstxt": True}))
    assert response.status == 200
    assert asked(site) == [site.site.path(3)]


async def test_no_page_without_a_robots_txt_that_can_be_read(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/robots.txt", flaky(9, 503))
    async with opened(tmp_path) as pages:
        with pytest.raises(FetchError, match=r"no page without its robots\.txt: .* status 503"):
            await pages.fetch(Request(site.site.url(3)))


async def test_a_private_address_is_refused_with_the_setting(site: Running, tmp_path: Path) -> None:
    async with opened(tmp_path, Settings()) as pages:
        with pytest.raises(FetchError, match=r"ALLOWED_NETWORKS=127\.0\.0\.0/8") as failed:
            await pages.fetch(Request(site.seeds[0]))
    assert isinstance(failed.value, (Refused, FetchError))
    assert site.log == []


async def test_pages_of_a_host_are_its_delay_apart(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    async with opened(tmp_path, Settings(ALLOWED_NETWORKS=("127.0.0.0/8",), DOWNLOAD_DELAY=0.2)) as pages:
        began = time.monotonic()
        for n in range(3):
            await pages.fetch(Request(site.site.url(n)))
        took = time.monotonic() - began
    times = [hit.time for hit in site.log if hit.path != "/robots.txt"]
    assert all(later - earlier > 0.15 for earlier, later in pairwise(times))
    assert took > 0.39


async def test_the_settings_of_the_spider_hold(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.robots = "User-agent: *\nDisallow: /\n"
    (tmp_path / "spiders").mkdir()
    (tmp_path / "spiders" / "bold.py").write_text(
        "from crawler import Spider\nclass Bold(Spider):\n    name = 'bold'\n"
        "    custom_settings = {'ROBOTSTXT_OBEY': False}\n    def parse(self, response): ...\n"
    )
    async with open_pages(Config(LOCAL, {}, tmp_path), find_spiders(tmp_path), "bold") as pages:
        assert (await pages.fetch(Request(site.site.url(3)))).status == 200
    assert asked(site) == [site.site.path(3)]


def test_a_saved_page_has_the_type_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "größe 1.html"
    file.write_bytes("<title>Größe</title>".encode("latin-1"))
    page = saved_page(Config(LOCAL, {}, tmp_path), file)
    assert page.is_html
    assert page.css("title::text").get() == "Größe"
    assert page.url.startswith("file:///")
    with pytest.raises(UsageError, match="No such file"):
        saved_page(Config(LOCAL, {}, tmp_path), tmp_path / "other.html")
    with pytest.raises(UsageError, match="Is a directory"):
        saved_page(Config(LOCAL, {}, tmp_path), tmp_path)


async def test_a_page_that_broke_off_is_told(site: Running, tmp_path: Path) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/half", truncated(9))
    async with opened(tmp_path, replace(LOCAL, DOWNLOAD_FAIL_ON_DATALOSS=False)) as pages:
        with capture_logs() as logs:
            response = await pages.fetch(Request(f"{here(site)}/half"))
    assert [(one["event"], one["cut"]) for one in logs] == [("page_cut", "dataloss")]
    assert set(response.cut) == {"dataloss"}
