"""Hears what becomes of the books in its worker process."""

from crawler import NotConfigured, signals


class Report:
    """Counts dear books in the job's own figures (`crawler status`), exactly over all workers."""

    @classmethod
    def from_crawler(cls, crawler):
        if not crawler.settings.get("EURO_RATE"):
            raise NotConfigured("EURO_RATE is not set")
        extension = cls()
        extension.stats = crawler.stats
        crawler.signals.connect(extension.item_scraped, signal=signals.item_scraped)
        return extension

    def item_scraped(self, item):
        if item["price"] > 20:
            self.stats.inc_value("dear_books")
