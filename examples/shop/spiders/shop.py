"""Shop: lists and details, with meta, an errback and dropped items."""

from crawler import DropItem, Spider


class Shop(Spider):
    """Name, price and list of every product; one line for each that cannot be had."""

    name = "shop"

    def parse(self, response):
        listed_in = response.css("h1::text").get()
        yield from response.follow_all(
            css="a.product", callback=self.parse_product, errback="report", meta={"listed_in": listed_in}
        )
        yield from response.follow_all(css="a.next")

    def parse_product(self, response):
        yield {
            "name": response.css("h1::text").get(),
            "price": response.css("p.price::text").get(),
            "listed_in": response.meta["listed_in"],
        }

    def process_item(self, item):
        if item.get("price") is None and "missing" not in item:
            raise DropItem("no_price")
        return item

    def report(self, request, failure):
        yield {"missing": request.url, "why": failure.kind}
