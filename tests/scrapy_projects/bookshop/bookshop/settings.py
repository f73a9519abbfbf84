BOT_NAME = "bookshop"

SPIDER_MODULES = ["bookshop.spiders"]
NEWSPIDER_MODULE = "bookshop.spiders"

USER_AGENT = "bookshop (+http://www.example.com)"
ROBOTSTXT_OBEY = True

CONCURRENT_REQUESTS = 16
CONCURRENT_REQUESTS_PER_DOMAIN = 8
DOWNLOAD_DELAY = 0

DEFAULT_REQUEST_HEADERS = {
    "Accept": "text/html",
    "Accept-Language": "en-GB,en;q=0.7",
}

ITEM_PIPELINES = {
    "bookshop.pipelines.CleaningPipeline": 100,
    "bookshop.pipelines.CheapPipeline": 300,
    "bookshop.pipelines.CurrencyPipeline": 800,
}

# our own
CHEAP_BELOW = 5
CURRENCIES = {"£": "GBP", "€": "EUR"}

FEED_EXPORT_ENCODING = "utf-8"
LOG_LEVEL = "INFO"
