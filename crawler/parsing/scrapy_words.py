"""Scrapy's words that mean something else here or nothing, and what to write instead of each.

The crawler takes over Scrapy's vocabulary where the meaning is the same. A word of a Scrapy project that it does not
know must not pass in silence, because its author relies on what it means there. A name that ends in `*` stands for all
names that begin like it.
"""

from __future__ import annotations

from collections.abc import Mapping

from crawler.program import PROGRAM

_NOTHING = "has no counterpart; delete it"
_CACHE = "there is no HTTP cache; DOWNLOADER_MIDDLEWARES can name one of yours"
_PROXY = "the crawler uses no proxies, and must not ask the host directly instead"
_COOKIES = 'the crawler keeps no cookies; give a request its own: headers={"cookie": "name=value"}'
_FILES = "items go to -o FILE.jsonl; process files and images in a step of your own"
_STORE = "write -o FILE.jsonl on the command line"
_END = f"there is no such limit; stop with Ctrl-C, or control the job with `{PROGRAM} control pause job NAME`"
_FROM_CRAWLER = "instead of __init__ write from_crawler(cls, crawler, **arguments), and read crawler.settings"
_TLS = "TLS is always verified; TLS_CA_FILE adds a certificate authority"

SETTINGS: Mapping[str, str] = {
    "ADDONS": "write the settings themselves; DOWNLOADER_MIDDLEWARES names middlewares",
    "ASYNCIO_EVENT_LOOP": _NOTHING,
    "AUTOTHROTTLE_DEBUG": f"`{PROGRAM} inspect hosts` shows the paces",
    "AUTOTHROTTLE_START_DELAY": "write DOWNLOAD_DELAY",
    "AWS_*": _STORE,
    "BOT_NAME": 'write USER_AGENT = "name/1.0 (+https://you.example/bot)"',
    "CLOSESPIDER_*": _END,
    "COMMANDS_MODULE": _NOTHING,
    "COMPRESSION_ENABLED": "answers are always asked for compressed",
    "CONCURRENT_ITEMS": _NOTHING,
    "CONCURRENT_REQUESTS_PER_IP": "write CONCURRENT_REQUESTS_PER_DOMAIN, which PACE_PER makes hold for an address",
    "COOKIES_*": _COOKIES,
    "DEFAULT_DROPITEM_LOG_LEVEL": "dropped items are counted by reason",
    "DEFAULT_ITEM_CLASS": "write default_item_class in a subclass of ItemLoader",
    "DEPTH_PRIORITY": "write Request(priority=…), or seed the job with --order lifo for depth first",
    "DEPTH_STATS_VERBOSE": _NOTHING,
    "DNSCACHE_*": "names are cached for as long as their records say",
    "DNS_RESOLVER": "the system's resolver is used",
    "DNS_TIMEOUT": "write CONNECT_TIMEOUT",
    "DOWNLOADER": "write DOWNLOADER_MIDDLEWARES",
    "DOWNLOADER_CLIENT*": _TLS,
    "DOWNLOADER_HTTPCLIENTFACTORY": _NOTHING,
    "DOWNLOADER_STATS": f"the figures are always kept; see `{PROGRAM} status`",
    "DOWNLOAD_BIND_ADDRESS": "the system chooses the address to ask from",
    "DOWNLOAD_HANDLERS*": "only http and https are fetched",
    "DOWNLOAD_SLOTS": f"write `{PROGRAM} control rate host NAME …` for the pace of one host",
    "DOWNLOAD_WARNSIZE": "write DOWNLOAD_MAXSIZE",
    "DUPEFILTER_*": "each URL is fetched once; Request(dont_filter=True) asks again",
    "EDITOR": _NOTHING,
    "EXTENSIONS*": _NOTHING,
    "FEED*": _STORE,
    "FILES_*": _FILES,
    "FORCE_CRAWLER_PROCESS": _NOTHING,
    "FTP_*": "only http and https are fetched",
    "GCS_PROJECT_ID": _STORE,
    "HTTPCACHE_*": _CACHE,
    "HTTPERROR_ALLOWED_CODES": "write handle_httpstatus_list = [404] in the spider",
    "HTTPERROR_ALLOW_ALL": 'write handle_httpstatus_list in the spider, or meta={"handle_httpstatus_all": True}',
    "HTTPPROXY_*": _PROXY,
    "IMAGES_*": _FILES,
    "ITEM_PIPELINES*": "write def process_item(self, item) in the spider",
    "ITEM_PROCESSOR": "write def process_item(self, item) in the spider",
    "JOBDIR": "every crawl can be resumed: give the same command again",
    "JOBS_DIR": "every crawl can be resumed: give the same command again",
    "LOGSTATS_INTERVAL": "progress is logged every 10 seconds",
    "LOG_DATEFORMAT": 'times are ISO 8601; LOG_FORMAT is "console" or "json"',
    "LOG_ENABLED": 'write LOG_LEVEL = "ERROR", or -q on the command line',
    "LOG_FILE*": "logs go to stderr: write 2> FILE on the command line",
    "LOG_FORMATTER": 'write LOG_FORMAT = "json"',
    "LOG_*": 'logs go to stderr; LOG_LEVEL and LOG_FORMAT ("console" or "json") shape them',
    "MAIL_*": "the crawler sends no mail",
    "MEDIA_ALLOW_REDIRECTS": _FILES,
    "MEMDEBUG_*": f"`{PROGRAM} inspect stats` shows each process's memory",
    "MEMUSAGE_*": "limit the memory from outside: ulimit, systemd's MemoryMax= or the container",
    "METAREFRESH_*": "METAREFRESH_ENABLED and METAREFRESH_MAXDELAY say which refreshes are followed",
    "NEWSPIDER_MODULE": "spiders live in the folder spiders/, and SPIDER_MODULES names others",
    "PERIODIC_LOG_*": f"progress is logged every 10 seconds; `{PROGRAM} status --watch` shows it live",
    "RANDOMIZE_DOWNLOAD_DELAY": "write DOWNLOAD_DELAY_JITTER = 0.5, the largest share of the delay to add; 0: none",
    "REACTOR_THREADPOOL_MAXSIZE": _NOTHING,
    "REDIRECT_ENABLED": "write REDIRECT_MAX_TIMES = 0",
    "REDIRECT_PRIORITY_ADJUST": "a redirect keeps the priority of its request",
    "REDIS_*": 'write REDIS_URL = "redis://:password@host:6379/0"',
    "REFERER_ENABLED": 'the crawler sends no Referer; give a request its own: headers={"referer": …}',
    "REFERRER_POLICY": 'the crawler sends no Referer; give a request its own: headers={"referer": …}',
    "REQUEST_FINGERPRINTER_*": "each URL is fetched once; Request(dont_filter=True) asks again",
    "RETRY_ENABLED": "write RETRY_TIMES = 0",
    "RETRY_EXCEPTIONS": "what may pass (time-outs, resets, DNS) is always tried again, RETRY_TIMES times",
    "RETRY_PRIORITY_ADJUST": "a retry keeps the priority of its request",
    "ROBOTSTXT_PARSER": "robots.txt is read by RFC 9309",
    "ROBOTSTXT_USER_AGENT": "robots.txt is read for the name in USER_AGENT",
    "SCHEDULER*": "the queue is always shared and durable; REDIS_URL names its server",
    "SPIDER_CONTRACTS*": "test a spider with crawler.testing.run_spider",
    "SPIDER_LOADER_*": "write SPIDER_MODULES",
    "SPIDER_MIDDLEWARES*": "write the step into the spider's callbacks, or into process_item",
    "START_URLS_*": "write start_urls or start_requests in the spider",
    "STATSMAILER_RCPTS": "the crawler sends no mail",
    "STATS_*": f"the figures are always kept; see `{PROGRAM} status`",
    "TELNETCONSOLE_*": f"look into a running crawl with `{PROGRAM} status`, `inspect` and `control`",
    "TEMPLATES_DIR": _NOTHING,
    "TWISTED_REACTOR": "the crawler runs on asyncio; delete it",
    "URLLENGTH_LIMIT": "URLs of more than 8,192 characters are left out",
    "WARN_ON_GENERATOR_RETURN_VALUE": _NOTHING,
}
"""Settings."""

META: Mapping[str, str] = {
    "allow_offsite": "write allowed_domains in the spider, or leave it out there to follow links to any host",
    "bindaddress": "the system chooses the address to ask from",
    "cookiejar": _COOKIES,
    "dont_cache": _CACHE,
    "dont_merge_cookies": "the crawler keeps no cookies, so leave it out",
    "dont_obey_robotstxt": 'write custom_settings = {"ROBOTSTXT_OBEY": False} in a spider of its own',
    "download_fail_on_dataloss": "a body that ends too early is tried again",
    "download_maxsize": "write DOWNLOAD_MAXSIZE in settings.py; it holds for all requests",
    "download_slot": f"hosts share their turns by PACE_PER; `{PROGRAM} control rate host NAME …` sets the pace of one",
    "download_warnsize": "write DOWNLOAD_MAXSIZE in settings.py",
    "ftp_password": "only http and https are fetched",
    "ftp_user": "only http and https are fetched",
    "give_up_log_level": f"what is given up is kept: see `{PROGRAM} dead`",
    "http_auth_domain": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "http_pass": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "http_user": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "playwright": "the crawler runs no browser; look for the request that brings the data",
    "proxy": _PROXY,
    "referrer_policy": 'the crawler sends no Referer; give a request its own: headers={"referer": …}',
    "splash": "the crawler runs no browser; look for the request that brings the data",
}
"""Keys of a request's `meta`."""

REQUEST: Mapping[str, str] = {
    "cb_kwargs": "write meta={…}, and read response.meta[…] in the callback",
    "cookies": 'write headers={"cookie": "name=value"}; the crawler keeps no cookies between requests',
    "encoding": "write the URL and the body in their final form; text is sent as UTF-8",
    "flags": "write meta={…}",
    "formdata": 'write method="POST", body=urllib.parse.urlencode(data), '
    'headers={"content-type": "application/x-www-form-urlencoded"}',
    "data": 'write method="POST", body=json.dumps(data), headers={"content-type": "application/json"}',
    "json": 'write method="POST", body=json.dumps(data), headers={"content-type": "application/json"}',
    "params": "write them into the URL: url + '?' + urllib.parse.urlencode(params)",
    "timeout": 'write meta={"download_timeout": seconds}',
    "proxy": _PROXY,
}
"""Arguments of a request, with those of other libraries that people write by habit."""

ATTRIBUTES: Mapping[str, str] = {
    "custom_feed": _STORE,
    "download_delay": 'write custom_settings = {"DOWNLOAD_DELAY": seconds}',
    "download_maxsize": "write DOWNLOAD_MAXSIZE in settings.py",
    "download_timeout": 'write DOWNLOAD_TIMEOUT in settings.py, or meta={"download_timeout": seconds} for a request',
    "download_warnsize": "write DOWNLOAD_MAXSIZE in settings.py",
    "handle_httpstatus_all": 'write handle_httpstatus_list, or meta={"handle_httpstatus_all": True} for a request',
    "http_auth_domain": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "http_pass": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "http_user": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "make_requests_from_url": "it is never called; write start_requests",
    "max_concurrent_requests": "write CONCURRENT_REQUESTS_PER_DOMAIN in settings.py",
    "proxy": _PROXY,
    "rules": "it is never read; follow links in parse: yield from response.follow_all(css=…, callback=self.parse_item)",
    "user_agent": 'write USER_AGENT in settings.py, or headers={"user-agent": …} for a request',
}
"""Attributes and methods of a spider."""

READ: Mapping[str, str] = {
    "crawler": f" before it is made; {_FROM_CRAWLER}",
    "settings": f" before it is made; {_FROM_CRAWLER}",
    "state": "; each worker process has a spider of its own; what belongs to a page goes into Request(meta={…})",
}
"""Attributes that Scrapy gives its spiders, and that a spider has not, or not yet."""

NAMES: Mapping[str, str] = {
    "CrawlSpider": "write Spider, and follow links in parse: yield from response.follow_all(css=…)",
    "FormRequest": REQUEST["formdata"].replace("write ", "write Request(url, ", 1) + ")",
    "JsonRequest": REQUEST["json"].replace("write ", "write Request(url, ", 1) + ")",
    "LinkExtractor": "write response.follow_all(css=…), or filter response.links",
    "Rule": "follow links in parse: yield from response.follow_all(css=…, callback=self.parse_item)",
    "Selector": "write response.css or response.xpath; parsel.Selector reads other text",
    "SitemapSpider": "write Spider, with sitemap_urls and sitemap_rules",
    "XMLFeedSpider": "write Spider, and read the feed with response.xpath in parse",
    "CSVFeedSpider": "write Spider, and read the rows with csv.DictReader(response.text.splitlines()) in parse",
}
"""What Scrapy's packages export."""


def instead(table: Mapping[str, str], word: str) -> str | None:
    """Return what to write instead of Scrapy's `word`; None if the table does not have it."""
    if word in table:
        return table[word]
    return next((advice for name, advice in table.items() if name[-1] == "*" and word.startswith(name[:-1])), None)
