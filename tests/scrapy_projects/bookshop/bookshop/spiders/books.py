import scrapy

from bookshop.items import BookLoader


class BooksSpider(scrapy.Spider):
    name = "books"

    def __init__(self, site=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.start_urls = [f"{site}/books/"]

    def parse(self, response):
        for book in response.css("article.book"):
            yield response.follow(book.css("a.title")[0], callback=self.parse_book)
        yield from response.follow_all(css="ul.pager li.next a", callback=self.parse)

    def parse_book(self, response):
        loader = BookLoader(response=response)
        loader.add_value("url", response.url)
        loader.add_css("title", "h1")
        loader.add_xpath("price", "//p[@class='price']/text()")
        loader.add_css("description", "div.description p")
        loader.add_css("tags", "ul.tags li::text")
        book = loader.load_item()
        self.crawler.stats.inc_value("bookshop/pages")
        self.logger.info("read %s", book["title"])
        yield response.follow(
            response.css("a.author::attr(href)").get(),
            callback=self.parse_author,
            cb_kwargs={"book": dict(book)},
            dont_filter=True,
        )

    def parse_author(self, response, book):
        loader = BookLoader(selector=response.css("main"))
        for name, value in book.items():
            loader.add_value(name, value)
        loader.add_css("author", "h1::text")
        loader.add_css("born", "span.born::text", re=r"\d{4}")
        yield loader.load_item()
