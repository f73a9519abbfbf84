"""Quotes: a list of items, and the link to the next page."""

from crawler import Spider


class Quotes(Spider):
    """Text, author and tags of every quote."""

    name = "quotes"

    def parse(self, response):
        for quote in response.css("div.quote"):
            yield {
                "text": quote.css("span.text::text").get(),
                "author": quote.css("small.author::text").get(),
                "tags": quote.css("a.tag::text").getall(),
            }
        yield from response.follow_all(css="li.next a")
