"""Books: items, loaders, pipelines and an extension, as in a Scrapy project."""

from items import BookLoader

from crawler import Spider


class Books(Spider):
    """Title, ISBN and price in euros of every book, each once."""

    name = "books"
    ITEM_KEY = ("isbn",)

    def parse(self, response):
        for book in response.css("li.book"):
            loader = BookLoader(selector=book)
            loader.add_css("title", "h2::text")
            loader.add_css("isbn", "code::text")
            loader.add_css("price", "b::text")
            yield loader.load_item()
        yield from response.follow_all(css="a.more")
