"""A `CrawlSpider` crawls a whole site: each page is read by the rule that found it."""

from __future__ import annotations

from pathlib import Path

from tests.crawling import crawl_pages

MINE = """
from crawler import CrawlSpider, LinkExtractor, Rule

class Mine(CrawlSpider):
    name = "mine"
    rules = (
        Rule(LinkExtractor(allow="/pot/"), callback="parse_pot", follow=True, process_request="counted"),
        Rule(LinkExtractor(restrict_css="nav"), follow=True),
        Rule(LinkExtractor(allow="/about"), callback="parse_about"),
    )

    def parse_start_url(self, response):
        yield {"start": response.url}

    def counted(self, request, response):
        self.crawler.stats.inc_value("pots found")
        return request

    def parse_pot(self, response):
        yield {"pot": response.url[-1], "text": response.meta["link_text"]}

    def parse_about(self, response):
        yield {"about": response.url[-5:]}
"""

NAV = "<nav><a href=/>home</a><a href=/list/1>1</a><a href=/list/2>2</a></nav>"
PAGES = {
    "/": NAV + "<a href=/about>us</a>",
    "/list/1": NAV + "<a href=/pot/1>one</a><a href=/pot/2>two</a>",
    "/list/2": NAV + "<a href=/pot/3>three</a>",
    "/pot/1": NAV + "<a href=/pot/4>four</a>",
    "/pot/2": NAV + "<a href=/pot/1>one again</a>",
    "/pot/3": NAV,
    "/pot/4": NAV,
    "/about": "<a href=/pot/9>not followed</a>",
}


async def test_each_page_is_read_once_by_the_rule_that_found_it(tmp_path: Path) -> None:
    crawled = await crawl_pages(tmp_path, PAGES, MINE)
    pots = {item["pot"]: item["text"] for item in crawled.items if "pot" in item}
    assert pots.keys() == set("1234")
    assert (pots["2"], pots["4"]) == ("two", "four")
    assert len(crawled.items) == 6, "four pots, the start page, which every page links to, and one more"
    assert {"about": "about"} in [{key: item[key] for key in item if key == "about"} for item in crawled.items]
    assert sorted(crawled.asked) == sorted(PAGES)
    assert "links/other_callback" not in crawled.counters
    assert crawled.counters["own/pots found"] == 5
