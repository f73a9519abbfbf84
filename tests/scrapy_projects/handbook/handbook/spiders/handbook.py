from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule


def printed(value):
    """Read the links that a script opens."""
    if value.startswith("javascript:show("):
        return value.removeprefix("javascript:show('").partition("'")[0]
    return value


class HandbookSpider(CrawlSpider):
    name = "handbook"
    allowed_domains = ["127.0.1.1"]

    rules = (
        Rule(LinkExtractor(allow=r"/handbook/\w+/$", restrict_css="nav.parts", deny=r"/drafts/")),
        Rule(
            LinkExtractor(allow=(r"/topic-\d+\.html", r"/note-\d+\.html"), deny=r"\?print=", process_value=printed),
            callback="parse_topic",
            cb_kwargs={"kind": "topic"},
            follow=True,
            process_links="newest",
        ),
        Rule(
            LinkExtractor(restrict_xpaths="//footer", deny_domains=["www.example.com"], restrict_text="Changes"),
            callback="parse_changes",
            process_request="marked",
        ),
    )

    def __init__(self, site=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.start_urls = [f"{site}/handbook/"]

    def newest(self, links):
        return [link for link in links if "old" not in link.url]

    def marked(self, request, response):
        return request.replace(headers={"X-Found-On": response.url.split("/")[3]}, priority=10)

    def parse_start_url(self, response):
        yield {"kind": "start", "title": response.css("title::text").get()}

    def parse_topic(self, response, kind):
        yield {
            "kind": kind,
            "url": response.url.partition("/handbook")[2],
            "title": response.css("h1::text").get(),
            "link": response.meta["link_text"].strip(),
        }

    def parse_changes(self, response):
        return {"kind": "changes", "lines": response.css("li::text").getall()}
