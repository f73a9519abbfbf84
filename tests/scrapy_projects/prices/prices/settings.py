BOT_NAME = "prices"

SPIDER_MODULES = ["prices.spiders"]
NEWSPIDER_MODULE = "prices.spiders"

USER_AGENT = "prices (+http://www.example.com)"
ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS_PER_DOMAIN = 8
DOWNLOAD_DELAY = 0
FEED_EXPORT_ENCODING = "utf-8"
