from itemadapter import ItemAdapter
from scrapy.exceptions import DropItem


class CleaningPipeline:
    """Turns the text of a price into a number."""

    def process_item(self, item, spider):
        adapter = ItemAdapter(item)
        text = adapter["price"]
        adapter["currency"] = text[0]
        adapter["price"] = float(text[1:].replace(",", ""))
        return item


class CheapPipeline:
    """Drops what costs less than the setting says."""

    def __init__(self, stats, below):
        self.stats = stats
        self.below = below

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler.stats, crawler.settings.getfloat("CHEAP_BELOW"))

    def process_item(self, item, spider):
        if item["price"] < self.below:
            self.stats.inc_value("bookshop/cheap")
            raise DropItem("cheap")
        return item


class CurrencyPipeline:
    """Names the currency, with a table that is read when the spider opens."""

    def open_spider(self, spider):
        self.names = spider.settings.getdict("CURRENCIES")

    async def process_item(self, item, spider):
        item["currency"] = self.names[item["currency"]]
        return item

    def close_spider(self, spider):
        self.names = None
