"""A page that sends its reader on is read, and the page to which it sends is asked for like a redirect's target."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.frontier.message import check, encode
from crawler.model import Lease, Request, Visit
from crawler.parsing.limits import ParseLimits
from crawler.parsing.scope import Scope
from crawler.parsing.url import host_of
from crawler.policy import RetryPolicy, counts
from crawler.response import Response
from crawler.spiders.base import Spider
from crawler.spiders.builtin.site import Site
from crawler.testing import FakeFetcher
from crawler.visit.admission import Admission
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import NoSlot
from tests.unit.visit.test_visit import Nobody

URL = "http://a.example/d/"


class Silent(Spider):
    """Yields nothing, and knows nothing of a refresh."""

    name = "silent"

    def parse(self, response: Response) -> Any: ...

    def detail(self, response: Response) -> Any: ...


async def visit(
    page: str | Response, spider: Spider | None = None, retry: RetryPolicy | None = None, **fields: Any
) -> Visit:
    spider = spider or Silent()
    ready = ReadySpider(spider=spider, scope=Scope(), retry=retry or RetryPolicy(), gate=None)
    request = Request(URL, spider=spider.name, **fields)
    fetcher = FakeFetcher({URL: page})
    visitor = Visitor(fetcher, lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
    return await visitor.visit(Lease("news", request, encode(request), host_of(URL)))


def meta(content: str) -> str:
    return f'<meta http-equiv="refresh" content="{content}">'


@pytest.mark.parametrize(
    "page",
    [
        meta("0; url=/home"),
        meta("0;URL='../home'") + "<a href=/x>",
        meta("5;url=/home").upper().replace("/HOME", "/home"),
        f"<base href=/>{meta('0;url=home')}",
        f"<BODY><P>{meta('99;/home')}",  # takes a parser
        f"<script>location = '/home'</script><noscript>{meta('0;/home')}</noscript>",
        Response(URL, headers={"Refresh": "0; url=/home", "content-type": "text/html"}, body=b"<p>"),
        Response(URL, headers={"refresh": "3;/home", "content-type": "application/pdf"}, body=b"%PDF"),
    ],
)
async def test_the_target_of_a_refresh_is_asked_for_like_that_of_a_redirect(page: str | Response) -> None:
    found = await visit(page, callback="detail", meta={"page": 2}, depth=3, priority=4, redirects=1)
    told = {"redirect_urls": [URL], "redirect_reasons": ["meta refresh"]}
    assert [
        (one.url, one.callback, one.meta, one.depth, one.priority, one.redirects, one.spider) for one in found.links
    ] == [("http://a.example/home", "detail", {"page": 2, **told}, 3, 4, 2, "silent")]


@pytest.mark.parametrize(
    ("page", "left_out"),
    [
        (meta("101; url=/home"), {"metarefresh": 1}),  # METAREFRESH_MAXDELAY
        (meta("60"), {}),
        (meta("0; url=/d/"), {}),  # itself
        (meta("0; url=/d/?#top"), {}),
        (meta("0; url=javascript:x"), {}),
        (f"<noscript>{meta('0; url=/home')}</noscript><a name=x>x</a><a href=/x>y</a>", {}),
        (f"<!-- {meta('0; url=/home')} -->", {}),
        (f"<script>document.write('{meta('0; url=/home')}')</script>", {}),
    ],
)
async def test_what_is_no_refresh_to_follow(page: str, left_out: dict[str, int]) -> None:
    found = await visit(page)
    assert (found.links, dict(found.unfollowed)) == ((), left_out)


async def test_a_chain_of_refreshes_ends() -> None:
    found = await visit(meta("0; url=/home"), redirects=20)
    assert (found.links, dict(found.unfollowed)) == ((), {"redirects": 1})


async def test_a_refresh_can_be_turned_off() -> None:
    found = await visit(meta("0; url=/home"), retry=RetryPolicy(metarefresh_maxdelay=-1.0))
    assert found.links == ()


async def test_another_origin_gets_no_secrets_and_no_form() -> None:
    form: dict[str, Any] = {
        "method": "POST",
        "body": b"a=1",
        "headers": {"content-type": "text/plain", "cookie": "x", "accept": "*/*"},
    }
    [onward] = (await visit(meta("0; url=http://b.example/"), **form)).links
    assert (onward.method, onward.body, onward.headers) == ("GET", b"", {"accept": "*/*"})


async def test_a_page_with_a_refresh_is_read_all_the_same() -> None:
    found = await visit(f"<title>t</title>{meta('0; url=/home')}<a href=/x>x</a>", Site())
    assert len(found.items) == 1
    assert [one.url for one in found.links] == ["http://a.example/x", "http://a.example/home"]


async def test_a_page_too_large_to_be_parsed_is_not_lost_for_a_refresh() -> None:
    page = Response(URL, headers={"content-type": "text/html"}, body=b"<p odd='" * 9, parse_limits=ParseLimits(size=10))
    assert page.refresh is None


async def test_what_a_bound_cuts_off_is_counted() -> None:
    found = await visit(f"<a href='{'x' * 9_000}'>x</a><title>{'y' * 10_001}</title><a href=/z>", Site())
    assert [one.url for one in found.links] == ["http://a.example/z"]
    assert counts(found) == {"cut/meta": 1, "cut/long_urls": 1}
