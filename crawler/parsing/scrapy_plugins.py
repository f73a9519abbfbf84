"""Plugins of Scrapy and libraries that its projects use with it: what each does, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Mapping

from crawler.program import PROGRAM

_BROWSER = "the crawler runs no browser: look for the request that brings the data (the browser's network panel)"
_AGENT = "say who you are: USER_AGENT, or headers={'user-agent': …} of a request"
_PROXY = "the crawler uses no proxies"
_FLEET = f"run `{PROGRAM} worker` on each machine, and `{PROGRAM} status` anywhere"
_FIGURES = f"`{PROGRAM} status --json` and `jobs --json` have the figures; --strict makes a loss an exit code"
_SINK = "write a class of your own that stores the items: -o python:MODULE:CLASS (docs/items.md)"
_REDIS_PIPELINE = "scrapy_redis.pipelines.RedisPipeline"

PLUGINS: Mapping[str, str] = {
    "crawlera": _PROXY,
    "frontera": "the queue is shared and durable; REDIS_URL names its server",
    "gerapy": _FLEET,
    "rotating_proxies": _PROXY,
    "scrapeops_scrapy": _FIGURES,
    "scrapy_autoextract": _BROWSER,
    "scrapy_cloudflare_middleware": _BROWSER,
    "scrapy_cluster": "the queue is shared and durable; REDIS_URL names its server",
    "scrapy_crawlera": _PROXY,
    "scrapy_crawl_once": "each URL is fetched once a job, and a job can be resumed",
    "scrapy_deltafetch": "each URL is fetched once a job, and a job can be resumed",
    "scrapy_djangoitem": "yield dicts, and load the items into Django from the exported file or queue",
    "scrapy_elasticsearch": _SINK,
    "scrapy_fake_useragent": _AGENT,
    "scrapy_impersonate": "the crawler says who it is",
    "scrapy_jsonrpc": f"look into a running crawl with `{PROGRAM} status`, `inspect` and `control`",
    "scrapy_magicfields": "add the fields in process_item",
    "scrapy_mongodb": _SINK,
    "scrapy_playwright": _BROWSER,
    "scrapy_poet": "write the extraction into the callback, or into functions that it calls",
    "scrapy_proxies": _PROXY,
    "scrapy_proxy_pool": _PROXY,
    "scrapy_pyppeteer": _BROWSER,
    "scrapy_redis": "delete it: the queue is shared, de-duplicated and durable; REDIS_URL names its server. "
    f"For its lists of start URLs: `{PROGRAM} seed --from 'redis://host/0?list=KEY' --follow`",
    "scrapy_rotating_proxies": _PROXY,
    "scrapy_selenium": _BROWSER,
    "scrapy_sentry": "write log records of the level ERROR to it, from logging",
    "scrapy_splash": _BROWSER,
    "scrapy_user_agents": _AGENT,
    "scrapy_zyte_api": _BROWSER,
    "scrapy_zyte_smartproxy": _PROXY,
    "scrapyd": _FLEET,
    "scrapyd_api": _FLEET,
    "scrapyd_client": _FLEET,
    "scrapydweb": _FLEET,
    "scrapyelasticsearch": _SINK,
    "scrapyrt": f"order a crawl from your application (docs/celery.md), or run `{PROGRAM} fetch URL`",
    "scrapyscript": "call the crawler from Python, or run the program",
    "sh_scrapy": _FLEET,
    "shub": _FLEET,
    "spidermon": _FIGURES,
    "zyte_spider_templates": "write the spider from a template of the crawler's",
}
"""Python packages, by the name that is imported."""

_UNKNOWN = "a plugin of Scrapy that the crawler does not know: its work must be done in callbacks, items or middlewares"


def plugin(module: str) -> tuple[str, str] | None:
    """Return the name of the plugin that a module, distribution or import path belongs to, and what to do instead; None
    if it belongs to none."""
    if module == _REDIS_PIPELINE:
        return module, "delete it, and write -o 'redis://host/0?list={spider}:items'"
    name = re.split(r"[.\[<>=!~;\s]", module.strip(), maxsplit=1)[0].replace("-", "_").lower()
    if name in PLUGINS:
        return name, PLUGINS[name]
    return (name, _UNKNOWN) if name.startswith(("scrapy_", "scrapyd")) else None
