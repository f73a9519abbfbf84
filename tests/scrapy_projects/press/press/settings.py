BOT_NAME = "press"

SPIDER_MODULES = ["press.spiders"]
NEWSPIDER_MODULE = "press.spiders"

USER_AGENT = "press (+http://www.example.com)"
ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS_PER_DOMAIN = 8
DOWNLOAD_DELAY = 0
FEED_EXPORT_ENCODING = "utf-8"
