"""What becomes of each of Scrapy's settings here, and of those of plugins that settings files often hold.

A setting of Scrapy's is one of: *same* (the crawler has a setting of that name and meaning: it stands in
`crawler.settings`, not here), *translated* (its meaning has another name or unit here), *harmless* (it changes nothing
here, and nobody misses it), or *unsupported* (its author would miss it: the words say what to write instead). A value
that means "off", or that Scrapy has anyway, is harmless. A name that ends in `*` stands for all names that begin like
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from msgspec import Struct

from crawler.program import PROGRAM

Kind = Literal["translated", "harmless", "unsupported"]
Fits = Callable[[Any], bool]
Entry = TypeVar("Entry")


class Verdict(Struct, frozen=True):
    """What becomes of a setting of Scrapy's with a value. `settings` are ours that stand for it, if translated."""

    kind: Kind
    words: str
    settings: Mapping[str, Any] = {}


class Missing(Struct, frozen=True):
    """A setting without a counterpart: what to write instead, and for which values nothing is missing."""

    words: str  # VALUE in it stands for the value
    fine: Fits


class Translated(Struct, frozen=True):
    """A setting that has another name or unit here: why, and ours for a value; none if that changes nothing."""

    words: str
    ours: Callable[[Any], Mapping[str, Any]]


def verdict(name: str, value: Any) -> Verdict | None:
    """Return what becomes of the setting `name` of Scrapy or a plugin; None if it is not known as one."""
    if name in TRANSLATED:
        ours = TRANSLATED[name].ours(value)
        return Verdict("translated" if ours else "harmless", TRANSLATED[name].words, ours)
    if missing := entry(MISSING, name):
        advice = missing.words.replace(_VALUE, _written(value))
        return Verdict("harmless" if missing.fine(value) else "unsupported", advice)
    if words := entry(HARMLESS, name):
        return Verdict("harmless", words)
    return None


def in_our_form(name: str, value: Any) -> Any:
    """Return the value of a setting that has the same name here, where Scrapy knows more forms of it."""
    if name == "LOG_LEVEL" and isinstance(value, (str, int)):
        return _LEVELS.get(str(value), value)
    if name == "DEFAULT_REQUEST_HEADERS" and isinstance(value, Mapping):
        return {field: one for field, one in value.items() if one is not None}
    if isinstance(value, Mapping):
        return {path: one for path, one in value.items() if not is_done_here(path)}
    return value


def is_done_here(path: Any) -> bool:
    """Whether an import path names a middleware or extension of Scrapy's own, whose work the crawler does itself."""
    return str(path).startswith(_DONE_HERE_PARTS)


_VALUE = "VALUE"
_MAX_WRITTEN = 60  # characters


def _written(value: Any) -> str:
    return str(value)[:_MAX_WRITTEN] if isinstance(value, (str, int, list)) else "…"


def entry(table: Mapping[str, Entry], name: str) -> Entry | None:
    """Return what the table has for the name, or for a beginning of it."""
    if name in table:
        return table[name]
    return next((one for start, one in table.items() if start[-1] == "*" and name.startswith(start[:-1])), None)


# ---------------------------------------------------------------------------------------------------------
# Values for which nothing is missing


def is_off(value: Any) -> bool:
    """Whether a value, in Python or as text, means that something is off or empty."""
    return not value or str(value).strip().lower() in _OFF


def is_utf_8(value: Any) -> bool:
    """Whether a value names UTF-8, or nothing."""
    return is_off(value) or str(value).lower().replace("_", "-") in ("utf-8", "utf8")


_OFF = frozenset({"0", "0.0", "false", "none", "no", "off", "[]", "{}"})
_LEVELS: Mapping[str, str] = {
    "0": "DEBUG",
    "10": "DEBUG",
    "20": "INFO",
    "30": "WARNING",
    "40": "ERROR",
    "50": "ERROR",
    "NOTSET": "DEBUG",
    "WARN": "WARNING",
    "CRITICAL": "ERROR",
    "FATAL": "ERROR",
}


def _on(value: Any) -> bool:
    return not is_off(value)


def _off_or(*values: object) -> Fits:
    texts = {str(value) for value in values}
    return lambda value: is_off(value) or str(value) in texts


def _scrapys(value: Any) -> bool:
    """Whether a value names only parts of Scrapy, or of plugins whose work the crawler does itself, or nothing."""
    if isinstance(value, Mapping):
        return all(number is None or _scrapys(path) for path, number in value.items())
    return is_off(value) or str(value).startswith(_DONE_HERE)


_DONE_HERE = ("scrapy.", "scrapy_redis.")
_DONE_HERE_PARTS = (
    *("scrapy.downloadermiddlewares.", "scrapy.contrib.downloadermiddleware."),
    *("scrapy.extensions.", "scrapy.contrib.closespider.", "scrapy.contrib.feedexport.", "scrapy.telnet."),
)


def _scrapys_handlers(value: Any) -> bool:
    """Whether a table of scheme → handler names only Scrapy's, or nothing."""
    return all(map(_scrapys, value.values())) if isinstance(value, Mapping) else is_off(value)


def _at_least(least: int) -> Fits:
    return lambda value: is_off(value) or (str(value).isdigit() and int(value) >= least)


def _one_of(values: Iterable[str]) -> Fits:
    wanted = set(values)
    return lambda value: isinstance(value, (list, tuple)) and {str(one) for one in value} <= wanted


def _can_pass(error: object) -> bool:
    """Whether a retry follows the error here as well; a class stands there as its import path."""
    return str(error).startswith(("scrapy.", "twisted.", "builtins."))


# ---------------------------------------------------------------------------------------------------------
# Translations


def _when_off(**ours: Any) -> Callable[[Any], Mapping[str, Any]]:
    return lambda value: ours if is_off(value) else {}


def _renderer(value: Any) -> Mapping[str, Any]:
    """Of LOG_FORMAT: its values before Scrapy's meaning was known here, and nothing for a %-format."""
    return {"LOG_RENDERER": value} if "%" not in str(value) and "{" not in str(value) else {}


def _coverage_rules(value: Any) -> Mapping[str, Any]:
    """Of Spidermon, which has a slash behind the class."""
    if not isinstance(value, Mapping):
        return {"COVERAGE_RULES": value}
    return {"COVERAGE_RULES": {str(field).replace("/", "."): share for field, share in value.items()}} if value else {}


TRANSLATED: Mapping[str, Translated] = {
    "CONCURRENT_REQUESTS_PER_IP": Translated(
        "hosts at one address share their turns (PACE_PER)",
        lambda value: {} if is_off(value) else {"CONCURRENT_REQUESTS_PER_DOMAIN": value},
    ),
    "LOG_ENABLED": Translated("errors are always told", _when_off(LOG_LEVEL="ERROR")),
    "LOG_FORMAT": Translated("lines have a fixed form; LOG_RENDERER chooses console or json", _renderer),
    "RANDOMIZE_DOWNLOAD_DELAY": Translated(
        "the crawler adds the share, and never shortens the delay",
        lambda value: {"DOWNLOAD_DELAY_JITTER": 0.0 if is_off(value) else 0.5},
    ),
    "REDIRECT_ENABLED": Translated("", _when_off(REDIRECT_MAX_TIMES=0)),
    "REDIRECT_MAX_METAREFRESH_DELAY": Translated("its newer name", lambda value: {"METAREFRESH_MAXDELAY": value}),
    "RETRY_ENABLED": Translated("", _when_off(RETRY_TIMES=0)),
    "SPIDERMON_FIELD_COVERAGE_RULES": Translated("the same rules; CLASS.FIELD for CLASS/FIELD", _coverage_rules),
    "SPIDERMON_MIN_ITEMS": Translated("", lambda value: {"MIN_ITEMS": value}),
}
"""Settings that have another name or unit here. If a layer also sets ours, the smaller number of the two counts."""


# ---------------------------------------------------------------------------------------------------------
# What is missing, and what to write instead

_POLICY = (
    "the page cache keeps each page, as DummyPolicy does; it is for developing spiders, so what a host says about "
    "caches (RFC 9111) is not read: delete it, and set HTTPCACHE_EXPIRATION_SECS"
)
_STEP = (
    "what they do to items, ITEM_PIPELINES do; to responses, DOWNLOADER_MIDDLEWARES; to requests, the spider's "
    "callbacks or a base class of your spiders"
)
_CLASS = "write a class of your own for the items: -o python:MODULE:CLASS (docs/items.md)"
_TLS = "TLS is always verified; TLS_CA_FILE adds a certificate authority"
_HTTP_ONLY = "only http and https are fetched; a browser's work is to find the request that brings the data"
_LOGIN = 'write HTTP_AUTH = {"https://a.example": "user:password"}'
_REDIS = 'write REDIS_URL = "redis://:password@host:6379/0"'
_REFERER = 'the crawler sends no Referer; give a request its own: headers={"referer": …}'
_SEED_FROM = f"write `{PROGRAM} seed --from 'redis://host/0?list=KEY' --follow`, which reads the URLs from a list"

MISSING: Mapping[str, Missing] = {
    "ADDONS": Missing("write the settings themselves; DOWNLOADER_MIDDLEWARES names middlewares", is_off),
    "COMMANDS_MODULE": Missing("write a script that calls the program", is_off),
    "CRAWLSPIDER_FOLLOW_LINKS": Missing("leave follow=True out of the rules", _on),
    "DEFAULT_ITEM_CLASS": Missing("write default_item_class in a subclass of ItemLoader", _scrapys),
    "DEPTH_PRIORITY": Missing(
        "pages near the seeds come first; for depth first seed the job with --order lifo, or write Request(priority=…)",
        lambda value: not str(value).startswith("-"),
    ),
    "DNS_RESOLVER": Missing("the system's resolver is used", _scrapys),
    "TWISTED_DNS_RESOLVER": Missing("the system's resolver is used", _scrapys),
    "DOWNLOADER": Missing("write DOWNLOADER_MIDDLEWARES", _scrapys),
    "DOWNLOADER_CLIENTCONTEXTFACTORY": Missing(_TLS, lambda value: value == "SENTINEL" or _scrapys(value)),
    "DOWNLOADER_CLIENT_TLS_CIPHERS": Missing(_TLS, _off_or("DEFAULT")),
    "DOWNLOADER_CLIENT_TLS_METHOD": Missing(_TLS, _off_or("TLS")),
    "DOWNLOADER_HTTPCLIENTFACTORY": Missing("write DOWNLOADER_MIDDLEWARES", _scrapys),
    "DOWNLOADER_MIDDLEWARES_BASE": Missing("write DOWNLOADER_MIDDLEWARES", _scrapys),
    "DOWNLOAD_BIND_ADDRESS": Missing("the system chooses the address to ask from", is_off),
    "DOWNLOAD_HANDLERS": Missing(_HTTP_ONLY, _scrapys_handlers),
    "DOWNLOAD_HANDLERS_BASE": Missing(_HTTP_ONLY, _scrapys_handlers),
    "DOWNLOAD_SLOTS": Missing(f"write `{PROGRAM} control rate host NAME …` for the pace of one host", is_off),
    "DOWNLOAD_TLS_*": Missing(_TLS, is_off),
    "DUPEFILTER_CLASS": Missing(
        "each URL is fetched once; Request(dont_filter=True) asks again",
        lambda value: _scrapys(value) and not str(value).endswith("BaseDupeFilter"),
    ),
    "EXTENSIONS_BASE": Missing("write EXTENSIONS", _scrapys),
    "FEED_EXPORTERS": Missing(_CLASS, is_off),
    "FEED_EXPORT_ENCODING": Missing("items are written in UTF-8; convert the file afterwards with iconv", is_utf_8),
    "FEED_STORAGES": Missing(_CLASS, is_off),
    "FEED_URI_PARAMS": Missing("settings.py may compute the names in FEEDS", is_off),
    "HTTPAUTH_*": Missing(_LOGIN, is_off),
    "HTTPCACHE_POLICY": Missing(_POLICY, _off_or("scrapy.extensions.httpcache.DummyPolicy")),
    "HTTPCACHE_STORAGE": Missing(
        "the page cache has files of its own in HTTPCACHE_DIR: delete it",
        _off_or("scrapy.extensions.httpcache.FilesystemCacheStorage"),
    ),
    "HTTPERROR_ALLOWED_CODES": Missing("write handle_httpstatus_list = VALUE in the spider", is_off),
    "HTTPERROR_ALLOW_ALL": Missing(
        'write handle_httpstatus_list in the spider, or meta={"handle_httpstatus_all": True}', is_off
    ),
    "ITEM_PROCESSOR": Missing("write ITEM_PIPELINES", _scrapys),
    "LOG_FORMATTER": Missing('lines have a fixed form; LOG_RENDERER = "json" is for programs', _scrapys),
    "MEMUSAGE_LIMIT_MB": Missing("limit the memory from outside: ulimit, MemoryMax= of systemd, the container", is_off),
    "MEMUSAGE_NOTIFY_MAIL": Missing("the crawler sends no mail", is_off),
    "METAREFRESH_IGNORE_TAGS": Missing(
        "METAREFRESH_ENABLED and METAREFRESH_MAXDELAY say which refreshes are followed", _one_of(["noscript"])
    ),
    "REDIRECT_PRIORITY_ADJUST": Missing("a redirect keeps the priority of its request", _off_or(2, "+2")),
    "REDIS_HOST": Missing('write REDIS_URL = "redis://VALUE:6379/0"', is_off),
    "REDIS_PARAMS": Missing(_REDIS, is_off),
    "REDIS_PORT": Missing('write REDIS_URL = "redis://host:VALUE/0"', is_off),
    "REDIS_START_URLS*": Missing(_SEED_FROM, is_off),
    "REFERRER_POLICIES": Missing(_REFERER, is_off),
    "REFERRER_POLICY": Missing(_REFERER, lambda value: _scrapys(value) or value == "no-referrer"),
    "REQUEST_FINGERPRINTER_CLASS": Missing("each URL is fetched once; Request(dont_filter=True) asks again", _scrapys),
    "RETRY_EXCEPTIONS": Missing(
        "what may pass (time-outs, resets, DNS) is always tried again, RETRY_TIMES times",
        lambda value: isinstance(value, (list, tuple)) and all(map(_can_pass, value)),
    ),
    "RETRY_PRIORITY_ADJUST": Missing("a retry keeps the priority of its request", _off_or(-1)),
    "ROBOTSTXT_PARSER": Missing("robots.txt is read by RFC 9309", _scrapys),
    "ROBOTSTXT_USER_AGENT": Missing("robots.txt is read for the name in USER_AGENT", is_off),
    "SCHEDULER": Missing("the queue is always shared and durable; REDIS_URL names its server", _scrapys),
    "SCHEDULER_DISK_QUEUE": Missing("requests wait in the queue server", _scrapys),
    "SCHEDULER_MEMORY_QUEUE": Missing("requests wait in the queue server", _scrapys),
    "SCHEDULER_PRIORITY_QUEUE": Missing("requests wait in the queue server", _scrapys),
    "SCHEDULER_START_DISK_QUEUE": Missing("requests wait in the queue server", _scrapys),
    "SCHEDULER_START_MEMORY_QUEUE": Missing("requests wait in the queue server", _scrapys),
    "SPIDER_LOADER_CLASS": Missing("write SPIDER_MODULES", _scrapys),
    "SPIDER_MIDDLEWARES": Missing(_STEP, _scrapys),
    "SPIDER_MIDDLEWARES_BASE": Missing(_STEP, _scrapys),
    "STATSMAILER_RCPTS": Missing("the crawler sends no mail", is_off),
    "STATS_CLASS": Missing(f"the figures are always kept; see `{PROGRAM} status`", _scrapys),
    "URLLENGTH_LIMIT": Missing(
        "URLs of up to 8,192 characters are followed; leave out longer ones in the spider", _at_least(2083)
    ),
}
"""Settings whose author would miss something, and the values of each for which nothing is missing."""

# ---------------------------------------------------------------------------------------------------------
# What nobody misses

_FIGURES = f"the figures are always kept; see `{PROGRAM} status`"
_LINES = "lines of the log have a fixed form; LOG_RENDERER chooses console or json"
_NO_COOKIES = 'the crawler keeps no cookies; give each request its own: cookies={"name": "value"}'
_NO_MAIL = "the crawler sends no mail"
_NO_STORAGE = "only steps of your own write to it, and read it as a setting of yours"
_NO_TWISTED = "the crawler runs on asyncio, without Twisted"
_OUTPUTS = "FEEDS and -o name all outputs; docs/items.md has the words of each"
_NOTHING = "nothing here depends on it"
_PROGRESS = f"progress is logged every 10 seconds; `{PROGRAM} status --watch` shows it live"
_QUEUE = "the queue is always shared and durable; REDIS_URL names its server"

HARMLESS: Mapping[str, str] = {
    "AJAXCRAWL_ENABLED": _NOTHING,
    "ASYNCIO_EVENT_LOOP": _NO_TWISTED,
    "AUTOTHROTTLE_DEBUG": f"`{PROGRAM} inspect hosts` shows the paces",
    "AUTOTHROTTLE_START_DELAY": "DOWNLOAD_DELAY is the first delay and the shortest",
    "AWS_*": _NO_STORAGE,
    "BOT_NAME": 'hosts know you by USER_AGENT = "name/1.0 (+https://you.example/bot)"',
    "COMPRESSION_ENABLED": "answers are always asked for compressed",
    "CONCURRENT_ITEMS": _NOTHING,
    "COOKIES_DEBUG": _NO_COOKIES,
    "COOKIES_ENABLED": _NO_COOKIES,
    "DEFAULT_DROPITEM_LOG_LEVEL": "dropped items are counted by reason",
    "DEPTH_STATS_VERBOSE": _FIGURES,
    "DNSCACHE_*": "names are cached for as long as their records say",
    "DNS_TIMEOUT": "DOWNLOAD_TIMEOUT bounds the whole exchange",
    "DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING": _NOTHING,
    "DOWNLOADER_STATS": _FIGURES,
    "DOWNLOAD_VERIFY_CERTIFICATES": _TLS,
    "DOWNLOAD_WARNSIZE": "DOWNLOAD_MAXSIZE bounds a body",
    "DUPEFILTER_DEBUG": f"`{PROGRAM} why URL` says whether a URL was seen",
    "EDITOR": _NOTHING,
    "FEED_EXPORTERS_BASE": _CLASS,
    "FEED_EXPORT_INDENT": "each item is one line",
    "FEED_STORAGES_BASE": _CLASS,
    "FEED_STORAGE_*": _OUTPUTS,
    "FEED_STORE_EMPTY": "an output without items may be missing",
    "FEED_TEMPDIR": "a file is written where it stays",
    "FILES_*": _NO_STORAGE,
    "FORCE_CRAWLER_PROCESS": _NO_TWISTED,
    "FTP_*": "only http and https are fetched",
    "GCS_PROJECT_ID": _NO_STORAGE,
    "HTTP2_MAX_FRAME_SIZE": "hosts are asked with HTTP/1.1",
    "HTTPCACHE_ALWAYS_STORE": "each page is kept; what a host says about caches is not read",
    "HTTPCACHE_DBM_MODULE": "the page cache has files of its own in HTTPCACHE_DIR",
    "HTTPCACHE_IGNORE_RESPONSE_CACHE_CONTROLS": "what a host says about caches is not read",
    "HTTPPROXY_*": "the crawler uses no proxies",
    "HTTPX_HTTP2_ENABLED": "hosts are asked with HTTP/1.1",
    "IMAGES_*": _NO_STORAGE,
    "ITEM_PIPELINES_BASE": _NOTHING,
    "JOBDIR": "every crawl can be resumed: give the same command again",
    "LOGSTATS_INTERVAL": _PROGRESS,
    "LOG_COLOR": "a terminal gets colours unless NO_COLOR is set",
    "LOG_DATEFORMAT": "times are ISO 8601",
    "LOG_ENCODING": "logs are UTF-8",
    "LOG_FILE_APPEND": "LOG_FILE is always appended to",
    "LOG_INSTALL_ROOT_HANDLER": _LINES,
    "LOG_SHORT_NAMES": _LINES,
    "LOG_STDOUT": "what a spider prints goes to stderr, like the log",
    "LOG_UNSERIALIZABLE_REQUESTS": "a request that cannot travel is an error where it is made",
    "LOG_VERSIONS": f"`{PROGRAM} version` tells them",
    "MAIL_*": _NO_MAIL,
    "MEMDEBUG_*": f"`{PROGRAM} inspect stats` shows each process's memory",
    "MEMUSAGE_*": f"`{PROGRAM} inspect stats` shows each process's memory",
    "NEWSPIDER_MODULE": "spiders live in SPIDER_MODULES",
    "PERIODIC_LOG_*": _PROGRESS,
    "REACTOR_THREADPOOL_MAXSIZE": _NO_TWISTED,
    "REFERER_ENABLED": _REFERER,
    "REMOTE_CONTROL_*": f"`{PROGRAM} control` changes a crawl while it runs",
    "REQUEST_FINGERPRINTER_IMPLEMENTATION": _NOTHING,
    "RETRY_GIVE_UP_LOG_LEVEL": f"what is given up is kept: see `{PROGRAM} dead`",
    "SCHEDULER_DEBUG": f"`{PROGRAM} why URL` tells where a request is",
    "SCHEDULER_*": _QUEUE,  # of scrapy-redis
    "SPIDER_CONTRACTS*": f"save pages with `{PROGRAM} record`, and compare them with `{PROGRAM} check`",
    "SPIDER_LOADER_WARN_ONLY": f"`{PROGRAM} list` names each file that cannot be loaded",
    "STATS_DUMP": _FIGURES,
    "TELNETCONSOLE_*": f"look into a running crawl with `{PROGRAM} status`, `inspect` and `control`",
    "TEMPLATES_DIR": _NOTHING,
    "TWISTED_REACTOR": _NO_TWISTED,
    "TWISTED_REACTOR_ENABLED": _NO_TWISTED,
    "WARN_ON_GENERATOR_RETURN_VALUE": _NOTHING,
    "WEBSERVICE_*": f"look into a running crawl with `{PROGRAM} status --json`",
}
"""Settings that change nothing here, and why nobody misses them."""
