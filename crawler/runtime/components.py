"""Makes the components that a setting names by import path, such as pipelines, in the way that Scrapy makes them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import structlog

from crawler.errors import ConfigError, CrawlerError, NotConfigured
from crawler.runtime.standard_output import kept_from_users
from crawler.runtime.tracebacks import error_in_words

log = structlog.get_logger()

_OF_OTHERS = ("scrapy.", "scrapy_redis.")  # parts whose work the crawler does itself


def wanted(setting: str, paths: Iterable[str]) -> list[str]:
    """Return the paths without those of Scrapy's own parts; the log names them."""
    kept = []
    for path in paths:
        if path.startswith(_OF_OTHERS):
            log.info("left_out", setting=setting, path=path, why="the crawler does this itself (docs/scrapy.md)")
        else:
            kept.append(path)
    return kept


def load(setting: str, path: str) -> Any:
    """Return what the setting names. Raise `ConfigError`, which tells setting, path and cause."""
    module, _, name = path.rpartition(".")
    if path.startswith(_OF_OTHERS):
        raise ConfigError(f"{setting}: {path} is a part of Scrapy, which does not work here; see docs/scrapy.md")
    if not module:
        raise ConfigError(f"{setting}: {path!r} is no import path, such as myproject.pipelines.Prices")
    with told_for(setting, path), kept_from_users():
        found = import_module(module)
    if not hasattr(found, name):
        near = difflib.get_close_matches(name, dir(found), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{setting}: {path}: {getattr(found, '__file__', module)} has no {name}{hint}")
    return getattr(found, name)


def make(setting: str, path: str, crawler: Any) -> Any:
    """Return the component for one spider: what its `from_crawler` gives, or else its class. None if it raises
    `NotConfigured`, which is logged. Raise `ConfigError` as `load` does."""
    found = load(setting, path)
    if not isinstance(found, type) and not hasattr(found, "from_crawler"):
        raise ConfigError(f"{setting}: {path} is {_kind(found)}; name a class")
    try:
        with told_for(setting, path), kept_from_users():
            made = found.from_crawler(crawler) if hasattr(found, "from_crawler") else found()
    except NotConfigured as why:
        log.warning("not_configured", setting=setting, left_out=path, why=str(why) or "it raised NotConfigured")
        return None
    if made is None:
        raise ConfigError(f"{setting}: {path}.from_crawler returned None; return cls(…)")
    return made


@contextmanager
def told_for(setting: str, path: str) -> Iterator[None]:
    """Turn whatever the component's own code raises in here into a `ConfigError` that names it. `NotConfigured` passes,
    and so does what names its cause already."""
    try:
        yield
    except (NotConfigured, ConfigError):
        raise
    except (Exception, SystemExit) as error:  # a user's code may fail in any way
        words = str(error) if isinstance(error, CrawlerError) else error_in_words(error)
        raise ConfigError(f"{setting}: {path}: {words}") from error


def takes(method: Callable[..., Any], *names: str) -> bool:
    """Return whether the method can be called with arguments of these names."""
    try:
        inspect.signature(method).bind(**dict.fromkeys(names))
    except (TypeError, ValueError):
        return False
    return True


def check_takes(setting: str, path: str, method: Callable[..., Any], *names: str) -> None:
    """Raise `ConfigError` if the method cannot be called with arguments of these names."""
    if not takes(method, *names):
        name = path.rpartition(".")[2]
        raise ConfigError(
            f"{setting}: {path} is called with other arguments; write def {name}(self, {', '.join(names)})"
        )


def takes_number(method: Callable[..., Any], number: int) -> bool:
    """Return whether the method can be called with so many arguments by place."""
    try:
        inspect.signature(method).bind(*[None] * number)
    except (TypeError, ValueError):
        return False
    return True


def is_deferred(given: Any) -> bool:
    """Return whether it is a Deferred of Twisted, which asyncio cannot await."""
    return hasattr(given, "addCallbacks")


def _kind(found: Any) -> str:
    return f"a {type(found).__name__}"
