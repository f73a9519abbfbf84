BOT_NAME = "handbook"

SPIDER_MODULES = ["handbook.spiders"]
NEWSPIDER_MODULE = "handbook.spiders"

USER_AGENT = "handbook (+http://www.example.com)"
ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS_PER_DOMAIN = 8
DOWNLOAD_DELAY = 0
FEED_EXPORT_ENCODING = "utf-8"
