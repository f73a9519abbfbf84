"""Scrapy's words that mean something else here or nothing, and what to write instead of each.

The crawler takes over Scrapy's vocabulary where the meaning is the same. A word of a Scrapy project that it does not
know must not pass in silence, because its author relies on what it means there. Its settings stand in
`scrapy_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping

from crawler.program import PROGRAM

_COOKIES = 'the crawler keeps no cookies; give each request its own: cookies={"name": "value"}'
_PROXY = "the crawler uses no proxies, and must not ask the host directly instead"
_FROM_CRAWLER = "instead of __init__ write from_crawler(cls, crawler, **arguments), and read crawler.settings"

META: Mapping[str, str] = {
    "autothrottle_dont_adjust_delay": "every answer adjusts the delay; leave it out",
    "bindaddress": "the system chooses the address to ask from",
    "cookiejar": _COOKIES,
    "download_fail_on_dataloss": "write DOWNLOAD_FAIL_ON_DATALOSS in settings.py; it holds for all requests",
    "download_maxsize": "write DOWNLOAD_MAXSIZE in settings.py; it holds for all requests",
    "download_slot": f"hosts share their turns by PACE_PER; `{PROGRAM} control rate host NAME …` sets the pace of one",
    "download_warnsize": "write DOWNLOAD_MAXSIZE in settings.py",
    "ftp_local_filename": "only http and https are fetched",
    "ftp_passive": "only http and https are fetched",
    "ftp_password": "only http and https are fetched",
    "ftp_user": "only http and https are fetched",
    "give_up_log_level": f"what is given up is kept: see `{PROGRAM} dead`",
    "http_auth_domain": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "http_pass": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "http_user": 'write the setting HTTP_AUTH = {"https://a.example": "user:password"}',
    "playwright": "the crawler runs no browser; look for the request that brings the data",
    "priority_adjust": "a retry keeps the priority of its request",
    "proxy": _PROXY,
    "referrer_policy": 'the crawler sends no Referer; give a request its own: headers={"referer": …}',
    "splash": "the crawler runs no browser; look for the request that brings the data",
    "verbatim_url": "each URL is asked for in the form of the WHATWG URL standard; leave it out",
}
"""Keys of a request's `meta`."""

FLAGS = "write meta={…}; nothing reads the flags of a request"

REQUEST: Mapping[str, str] = {
    "formdata": "write FormRequest(url, formdata=…)",
    "data": "write JsonRequest(url, data=…) for JSON, FormRequest(url, formdata=…) for a form",
    "dumps_kwargs": "write JsonRequest(url, data=…, dumps_kwargs=…)",
    "json": "write JsonRequest(url, data=…)",
    "params": "write them into the URL: url + '?' + urllib.parse.urlencode(params)",
    "timeout": 'write meta={"download_timeout": seconds}',
    "proxy": _PROXY,
}
"""Arguments of a request, with those of other libraries that people write by habit."""

ATTRIBUTES: Mapping[str, str] = {
    "close": "it is never called; write closed(self, reason)",
    "custom_feed": "write FEEDS in custom_settings",
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
    "rules": "only a CrawlSpider reads them; write class X(CrawlSpider)",
    "user_agent": 'write USER_AGENT in settings.py, or headers={"user-agent": …} for a request',
}
"""Attributes and methods of a spider."""

READ: Mapping[str, str] = {
    "crawler": f" before it is made; {_FROM_CRAWLER}",
    "settings": f" before it is made; {_FROM_CRAWLER}",
    "state": "; each worker process has a spider of its own; what belongs to a page goes into Request(meta={…})",
}
"""Attributes that Scrapy gives its spiders, and that a spider has not, or not yet."""

_RUN = "write from crawler import run: run(MySpider, settings={…}), or await crawl(MySpider)"

NAMES: Mapping[str, str] = {
    "AsyncCrawlerProcess": _RUN,
    "AsyncCrawlerRunner": _RUN,
    "CrawlerProcess": _RUN,
    "CrawlerRunner": _RUN,
    "XmlRpcRequest": 'write Request(url, method="POST", body=xmlrpc.client.dumps(params, method), '
    'headers={"content-type": "text/xml"})',
    "Selector": "write response.css or response.xpath; parsel.Selector reads other text",
}
"""What Scrapy's packages export."""
