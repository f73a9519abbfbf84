BOT_NAME = "portal"

SPIDER_MODULES = ["portal.spiders"]
NEWSPIDER_MODULE = "portal.spiders"

USER_AGENT = "portal (+http://www.example.com)"
ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS_PER_DOMAIN = 8
DOWNLOAD_DELAY = 0
FEED_EXPORT_ENCODING = "utf-8"
