"""What a spider of Scrapy says about its requests holds on the wire: statuses, words of `meta`, cookies, errbacks."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.crawling import crawl_pages
from tests.website import Answer, Handler, Hit, flaky, redirect, slow, truncated

SPIDER = """
from crawler import Request, Spider
from crawler.errors import HttpError

class Mine(Spider):
    name = "mine"
    {attributes}

    def parse(self, response):
        {yields}

    def page(self, response, **given):
        meta = response.meta
        yield {{"path": response.url.partition("127.0.1.1")[2].partition("/")[2], "status": response.status, **given,
               "retry_times": meta.get("retry_times"), "depth": meta["depth"],
               "redirects": [url.rpartition("/")[2] for url in meta.get("redirect_urls", [])],
               "reasons": meta.get("redirect_reasons", []), "ip": str(response.ip_address)}}

    def failed(self, failure):
        found = failure.check(HttpError)
        yield {{"failed": failure.type.__name__, "status": failure.value.response.status if found else None,
               "text": failure.value.response.text if found else None, "kind": failure.kind,
               "given": failure.request.cb_kwargs}}
"""

ME: Handler = lambda hit, _: Answer(json.dumps({k: v for k, v in hit.headers.items() if k == "cookie"}).encode())  # noqa: E731


async def crawled(
    folder: Path, yields: str, pages: Mapping[str, Answer | Handler], attributes: str = "", **settings: Any
) -> list[dict[str, Any]]:
    """The items of a crawl whose first page yields this."""
    code = SPIDER.format(attributes=attributes, yields=yields)
    found = await crawl_pages(folder, {"/": "<p>", **pages}, code, **{"RETRY_TIMES": 1, **settings})
    return list(found.items)


def status(code: int) -> Answer:
    return Answer(b"body", status=code)


@pytest.mark.parametrize(
    ("fields", "attributes", "page", "seen", "asked"),
    [
        ("meta={'handle_httpstatus_list': [404]}", "", status(404), 404, 1),
        ("meta={'handle_httpstatus_all': True}", "", status(418), 418, 1),
        ("meta={'handle_httpstatus_all': True}", "", status(500), 500, 2),
        ("meta={'handle_httpstatus_all': False}", "", status(404), None, 1),
        ("", "handle_httpstatus_list = [404]", status(404), 404, 1),
        ("", "handle_httpstatus_list = [404]", status(403), None, 1),
        ("meta={'dont_redirect': True, 'handle_httpstatus_list': [302]}", "", redirect("/other"), 302, 1),
        ("meta={'dont_redirect': True}", "", redirect("/other"), None, 1),
        ("meta={'dont_retry': True}", "", status(500), None, 1),
        ("meta={'max_retry_times': 3}", "", status(500), None, 4),
        ("meta={'max_retry_times': 3}", "", flaky(3, 500), 200, 4),
        ("meta={'download_timeout': 0.3, 'dont_retry': True}", "", slow(30), None, 1),
    ],
)
async def test_statuses_and_words_in_meta(
    fields: str, attributes: str, page: Answer | Handler, seen: int | None, asked: int, tmp_path: Path
) -> None:
    asks: list[Hit] = []

    def counted(hit: Hit, answer: Answer) -> Answer:
        asks.append(hit)
        return page if isinstance(page, Answer) else page(hit, Answer(b"page"))

    comma = ", " if fields else ""
    yields = f"yield Request(response.urljoin('/x'), callback=self.page, errback=self.failed{comma}{fields})"
    (item,) = await crawled(tmp_path, yields, {"/x": counted}, attributes)
    assert item.get("status") == seen if seen else "failed" in item
    assert len(asks) == asked
    if asked > 1 and seen:
        assert item["retry_times"] == asked - 1


async def test_an_errback_gets_the_answer_or_the_class_of_the_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.1.9", 0))
        gone = f"http://127.0.1.9:{closed.getsockname()[1]}/"
        yields = f"""
        for number, url in enumerate(["/404", "/500", "/cut", "{gone}", "http://10.0.0.1/"]):
            yield Request(response.urljoin(url), "page", errback="failed", cb_kwargs={{"n": number}})"""
        pages: dict[str, Answer | Handler] = {
            "/404": Answer(b"never was", status=404),
            "/500": status(500),
            "/cut": lambda hit, _: truncated(9)(hit, Answer(b"page" * 9)),
        }
        items = await crawled(tmp_path, yields, pages, RETRY_TIMES=0)
    found = {item["given"]["n"]: (item["failed"], item["status"], item["text"]) for item in items}
    assert found == {
        0: ("HttpError", 404, "never was"),
        1: ("HttpError", 500, "body"),
        2: ("ResponseDataLossError", None, None),
        3: ("ConnectionRefusedError", None, None),
        4: ("IgnoreRequest", None, None),
    }


async def test_arguments_and_the_way_arrive_behind_redirects_and_retries(tmp_path: Path) -> None:
    yields = "yield response.follow('/a', self.page, cb_kwargs={'note': ['x'], 'n': None})"
    pages = {
        "/a": redirect("/b", 301),
        "/b": redirect("/c", 307),
        "/c": lambda hit, _: flaky(1, 500)(hit, Answer(b"page")),
    }
    (item,) = await crawled(tmp_path, yields, pages)
    assert item == {
        "path": "c",
        "status": 200,
        "note": ["x"],
        "n": None,
        "retry_times": 1,
        "depth": 1,
        "redirects": ["a", "b"],
        "reasons": [301, 307],
        "ip": "127.0.1.1",
    }


async def test_cookies_go_to_one_request_and_to_no_other_origin(tmp_path: Path) -> None:
    sent: dict[str, str | None] = {}

    def noted(hit: Hit, _: Answer) -> Answer:
        sent[hit.path] = hit.headers.get("cookie")
        port = hit.url.split(":")[2].partition("/")[0]
        to = {"/same": "/next", "/other": f"http://127.0.1.2:{port}/next"}.get(hit.path)
        return (
            Answer(status=302, headers={"Location": to})
            if to
            else Answer(b"<a href=/plain>", headers={"Set-Cookie": "k=1"})
        )

    yields = """
        for path in ("/own", "/same", "/other"):
            yield Request(response.urljoin(path), self.page, cookies={"s": "ü 1", "t": 2}, dont_filter=True)
        yield Request(response.urljoin("/plain"), self.page)"""
    await crawled(tmp_path, yields, dict.fromkeys(("/own", "/same", "/other", "/next", "/plain"), noted))
    cookie = "s=ü 1; t=2"
    assert {path: value and value.encode("latin-1").decode() for path, value in sent.items()} == {
        **dict.fromkeys(("/own", "/same", "/other", "/next"), cookie),
        "/plain": None,
    }


async def test_robots_txt_and_the_domains_may_be_left_aside_for_one_request(tmp_path: Path) -> None:
    robots = Answer(b"User-agent: *\nDisallow: /no", content_type="text/plain")
    yields = """
        yield Request(response.urljoin("no1"), self.page)
        for path, leave in (("no2", True), ("no3", False)):
            yield Request(response.urljoin(path), self.page, meta={"dont_obey_robotstxt": leave})
        base = response.url.replace("127.0.1.1", "localhost")
        yield Request(base + "off1", self.page)
        leave = {"allow_offsite": True, "dont_retry": True}
        yield Request(base + "off2", self.page, errback=self.failed, meta=leave)"""
    pages: dict[str, Answer | Handler] = {"/robots.txt": robots, **dict.fromkeys(("/no1", "/no2", "/no3"), status(200))}
    items = await crawled(tmp_path, yields, pages, "allowed_domains = ['127.0.1.1']")
    assert sorted(item.get("path") or item["failed"] for item in items) == ["ConnectionRefusedError", "no2"]


async def test_a_callback_without_the_argument_fails_where_the_request_is_yielded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
from crawler import Request, Spider

class Mine(Spider):
    name = "mine"

    def parse(self, response):
        kept = {"pag": 2}
        yield {"n": 1}
        yield Request(response.urljoin("/x"), callback=self.page, cb_kwargs=kept)

    def page(self, response, page):
        yield {"page": page}
"""
    found = await crawl_pages(tmp_path, {"/": "<p>", "/x": "<p>"}, code)
    assert (found.items, found.asked) == ([], ["/"])
    told = capsys.readouterr().out
    assert "page(self, response, page) is called with response, pag (cb_kwargs)" in told
    assert "spiders/mine.py:10 " in told
