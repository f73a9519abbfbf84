"""What each book goes through, in the worker, before its page commits: it may happen twice after a crash."""

from crawler import DropItem


class Priced:
    """Drops books without a price; the crawl counts them as `dropped/no_price`."""

    def process_item(self, item):
        if "price" not in item:
            raise DropItem("no price")
        return item


class InEuro:
    """Converts the price, at the rate in `settings.py`."""

    def __init__(self, rate):
        self.rate = rate

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler.settings.getfloat("EURO_RATE"))

    def process_item(self, item):
        item["price"] = round(item["price"] * self.rate, 2)
        return item
