"""Checks the settings of a file before a crawl uses them. It connects nowhere and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from crawler.app.broker import broker_of
from crawler.app.config import Config, data_dir
from crawler.app.connect import check_server
from crawler.app.outputs import feeds_in, target_of_feed
from crawler.app.spiders import routed_unknown_spiders, unknown_spiders
from crawler.app.start_worker import public_suffixes
from crawler.app.tickets import celery_results
from crawler.embedded.server import find_binary
from crawler.errors import ConfigError, CrawlerError
from crawler.fetch.middleware import load
from crawler.parsing.scrapy_settings import verdict
from crawler.runtime import components
from crawler.runtime.standard_output import kept_from_users
from crawler.runtime.tls import client_context
from crawler.schedules.given import wrong_in_settings
from crawler.settings import SCHEDULED, Settings, read_file
from crawler.spiders import pipelines
from crawler.spiders.hooks import EXTENSIONS
from crawler.spiders.registry import find_spiders

WrongCommand = Callable[[Config, Sequence[str]], Iterator[str]]


@kept_from_users()
def check_settings(file: Path, folder: Path, wrong_command: WrongCommand) -> tuple[int, list[str], list[str]]:
    """Return how many settings the file sets, what becomes of Scrapy's among them, and a sentence for each mistake.

    Relative paths, spiders and middlewares are those of `folder`, in which the file would be settings.py.
    `wrong_command` yields what is wrong with the words of a schedule's command.
    """
    try:
        settings, origins, wrong = read_file(file, folder)
    except ConfigError as error:
        return 0, [], [str(error)]
    number = sum(", as " not in origin for origin in origins.values())
    return number, [*_notes(settings)], [*wrong, *_unusable(Config(settings, origins, folder), wrong_command)]


def _notes(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting of Scrapy's that has another name here, and one for all that change nothing."""
    found = {name: one for name, value in settings.OWN.items() if (one := verdict(name, value))}
    for name, one in found.items():
        if one.kind == "translated":
            ours = ", ".join(f"{ours} = {value!r}" for ours, value in one.settings.items())
            yield f"{name} of Scrapy counts as {ours}{'; ' if one.words else ''}{one.words}"
    if harmless := [name for name, one in found.items() if one.kind == "harmless"]:
        yield f"of Scrapy, and changing nothing here: {', '.join(harmless)}"


def _unusable(config: Config, wrong_command: WrongCommand) -> Iterator[str]:
    """Yield one sentence for each setting that has the right type and cannot be used."""
    registry = find_spiders(config.folder, config.settings.SPIDER_MODULES)  # makes the modules of the folder importable
    yield from map(str, registry.broken.values())
    yield from unknown_spiders(config, registry)
    yield from routed_unknown_spiders(config, registry)
    yield from _wrong_commands(config, wrong_command)
    for use in _uses(config):
        try:
            use()
        except CrawlerError as error:
            yield str(error)


def _wrong_commands(config: Config, wrong_command: WrongCommand) -> Iterator[str]:
    """Yield what is wrong with the commands of schedules that are written correctly."""
    alone = replace(config, settings=replace(config.settings, SPIDERS={}))  # their mistakes are reported already
    for name, fields in config.settings.SCHEDULES.items():
        if not list(wrong_in_settings(name, fields, SCHEDULED)):
            yield from (f"SCHEDULES[{name!r}]: {text}" for text in wrong_command(alone, fields["command"]))


def _uses(config: Config) -> Iterator[Callable[[], object]]:
    settings = config.settings
    yield partial(data_dir, config)
    yield partial(client_context, settings.TLS_CA_FILE)
    if settings.PACE_PER == "domain":
        yield public_suffixes
    yield partial(check_server, settings)
    for name, words in feeds_in(settings).items():
        yield partial(target_of_feed, name, words, settings)
    if settings.EMBEDDED_BINARY:
        yield partial(find_binary, settings.EMBEDDED_BINARY)
    if settings.EVENTS_URL:
        yield partial(_events, config)
    if settings.CELERY_APP:
        yield partial(celery_results, config)
    for path in settings.DOWNLOADER_MIDDLEWARES:
        yield partial(load, [path])
    for path in settings.ITEM_PIPELINES:
        yield partial(pipelines.check, path)
    for path in components.wanted(EXTENSIONS, settings.EXTENSIONS):
        yield partial(components.load, EXTENSIONS, path)


def _events(config: Config) -> None:
    try:
        from crawler.amqp.events import Words  # the client is an extra

        broker_of(config, config.settings.EVENTS_URL, Words)
    except ConfigError as error:
        raise ConfigError(f"EVENTS_URL: {error}") from None
