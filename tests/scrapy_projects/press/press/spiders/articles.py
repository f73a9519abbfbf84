import re

from scrapy.spiders import SitemapSpider

from press.items import Article


class ArticlesSpider(SitemapSpider):
    name = "articles"
    sitemap_rules = [
        (r"/press/article-\d+", "parse_article"),
        (re.compile("/press/people/"), "parse_person"),
    ]
    sitemap_follow = [r"/sitemap-(articles|people|2025)"]
    sitemap_alternate_links = True

    def __init__(self, site=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sitemap_urls = [f"{site}/robots.txt"]

    def sitemap_filter(self, entries):
        for entry in entries:
            if entry.get("lastmod", "2026") >= "2025":
                yield entry

    def parse_article(self, response):
        yield Article(
            url=response.url,
            title=response.css("h1::text").get(),
            author=response.xpath("//a[@rel='author']/text()").get(),
            topics=response.css("li.topic::text").getall(),
        )

    async def parse_person(self, response):
        return [{"person": response.css("h1::text").get()}]
