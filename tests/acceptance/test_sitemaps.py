"""A list → detail spider on a site whose robots.txt names a sitemap of the details: nothing is lost, nothing silent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, ROOT, Ended, Shell
from tests.webserver import Answer, Hit, Running, serve

PRODUCTS = 60
A_LIST = 10  # products


class Shop:
    """Lists that lead to each other and to their products. robots.txt names a sitemap of all products."""

    def __init__(self) -> None:
        self.hosts = ["127.0.1.1"]
        self.port = 80

    def address(self, host: str) -> str:
        """Its own."""
        return host

    @property
    def origin(self) -> str:
        """Of all its pages."""
        return f"http://{self.hosts[0]}:{self.port}"

    @property
    def seeds(self) -> list[str]:
        """The first list."""
        return [f"{self.origin}/list/0"]

    def answer(self, hit: Hit) -> Answer:
        """A list, a product, robots.txt or the sitemap."""
        kind, _, number = hit.path.strip("/").partition("/")
        match kind:
            case "robots.txt":
                return Answer(b"User-agent: *\nSitemap: /sitemap.xml\n", content_type="text/plain")
            case "sitemap.xml":
                urls = "".join(f"<url><loc>{self.origin}/pot/{n}</loc></url>" for n in range(PRODUCTS))
                return Answer(f"<urlset>{urls}</urlset>".encode(), content_type="application/xml")
            case "list":
                first = int(number) * A_LIST
                links = [f'<a class="name" href="/pot/{n}">pot</a>' for n in range(first, first + A_LIST)]
                after = f'<a rel="next" href="/list/{int(number) + 1}">next</a>' if first + A_LIST < PRODUCTS else ""
                return Answer(f'<div class="product">{"".join(links)}</div>{after}'.encode())
            case "pot":
                return Answer(
                    f'<article class="product"><h1>Pot {number}</h1><p class="price">£1</p></article>'.encode()
                )
        return Answer(status=404)


SHOP = """
from crawler import Request, Spider
class Shop(Spider):
    name = "shop"
    def parse(self, response):
        for url in response.css("a.name::attr(href)").getall():
            yield Request(response.urljoin(url), callback=self.detail)
        yield from response.follow_all(css="a[rel=next]")
    def detail(self, response):
        yield {"name": response.css("h1::text").get()}
"""


def write_spider(shell: Shell, source: str = SHOP) -> None:
    """Into the working directory."""
    (shell.folder / "spiders").mkdir(exist_ok=True)
    (shell.folder / "spiders" / "shop.py").write_text(source)


async def crawl(shell: Shell, web: Running, spider: str) -> tuple[Ended, list[Mapping[str, Any]]]:
    """To its end, and the items."""
    ended = await shell.run("crawl", *web.seeds, "--spider", spider, "-O", "items.jsonl", *LOCAL)
    return ended, [json.loads(line) for line in (shell.folder / "items.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("spider", ["catalogue", "shop"])
async def test_the_details_of_a_list_are_all_there(shell: Shell, spider: str) -> None:
    write_spider(shell)
    shutil.copy(ROOT / "spiders" / "catalogue.py", shell.folder / "spiders")
    async with serve(Shop()) as web:
        ended, items = await crawl(shell, web, spider)
        assert (ended.code, len(items)) == (0, PRODUCTS), ended.err
        assert {hit.path for hit in web.log} >= {"/robots.txt", "/list/5", "/pot/59"}
        assert "/sitemap.xml" not in {hit.path for hit in web.log}


OWN_SEEDS = SHOP.replace(
    "    def parse(",
    "    def start_requests(self):\n        yield Request('%s/pot/1', callback=self.detail)\n    def parse(",
)


async def test_seeds_of_a_spider_may_name_a_callback_by_its_method(shell: Shell) -> None:
    async with serve(Shop()) as web:
        write_spider(shell, OWN_SEEDS % web.seeds[0].removesuffix("/list/0"))
        ended = await shell.run("crawl", "--spider", "shop", "-O", "items.jsonl", *LOCAL)
        assert (ended.code, len((shell.folder / "items.jsonl").read_text().splitlines())) == (0, 1), ended.err


SITEMAPS = """
from crawler import Spider
class Shop(Spider):
    name = "shop"
    sitemap_urls = ["%s/robots.txt"]
    sitemap_rules = [(r"/pot/\\d*[05]$", "detail")]
    def detail(self, response):
        yield {"name": response.css("h1::text").get()}
"""


async def test_a_spider_of_sitemaps_brings_its_seeds_and_reads_what_its_rules_say(shell: Shell) -> None:
    async with serve(Shop()) as web:
        write_spider(shell, SITEMAPS % web.seeds[0].removesuffix("/list/0"))
        ended = await shell.run("crawl", "--spider", "shop", "-O", "items.jsonl", *LOCAL)
        items = (shell.folder / "items.jsonl").read_text().splitlines()
        assert (ended.code, len(items)) == (0, PRODUCTS // 5), ended.err
        assert f"{PRODUCTS - PRODUCTS // 5} sitemap URLs: matched by none of sitemap_rules" in ended.err


async def test_wrong_rules_are_an_error_at_start(shell: Shell) -> None:
    write_spider(shell, SHOP.replace("    def parse(", "    sitemap_rules = [('/pot/', 'details')]\n    def parse("))
    ended = await shell.run("crawl", "http://127.0.1.1/", "--spider", "shop", *LOCAL)
    assert (ended.code, "spider Shop: sitemap_rules: 'details' is no public method" in ended.error) == (78, True)


BOTH = SHOP.replace("    def parse(", "    sitemap_rules = [('', 'parse')]\n    def parse(")


async def test_a_request_for_a_known_url_that_names_another_callback_is_told(shell: Shell) -> None:
    """What this spider asks for is a loss: its sitemap sends the products to the reader of lists."""
    write_spider(shell, BOTH)
    async with serve(Shop()) as web:
        ended, items = await crawl(shell, web, "shop")
        origin = web.seeds[0].removesuffix("/list/0")
    assert len(items) < PRODUCTS
    told = f"{PRODUCTS} requests for known URLs named another callback ("  # of the two for each one came too late
    status = await shell.run("status")
    for said in (ended.err, status.out):
        assert told in " ".join(said.split())
        assert f"detail, such as for {origin}/pot/" in " ".join(said.split())
        assert "the first request for a URL wins; Request(…, dont_filter=True) asks for both" in " ".join(said.split())
    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert job["counters"]["links/other_callback"] == PRODUCTS
    one = job["other_callbacks"]["detail"]
    why = await shell.run("why", one)
    assert "another request for it named the callback detail and was not admitted" in " ".join(why.out.split())
    assert "done: fetched and read" in why.out
