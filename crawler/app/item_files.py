"""Builds what keeps the files of items (docs/media.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crawler.app.config import Config
from crawler.errors import ConfigError
from crawler.export.formats import SCHEMES
from crawler.frontier import message
from crawler.interfaces import FileStore
from crawler.media.folder import Folder
from crawler.media.library import Library, Shaped
from crawler.runtime.safe_text import shown
from crawler.settings import Settings
from crawler.spiders.pipelines import MEDIA
from crawler.visit.item_files import ItemFiles, Section
from crawler.visit.waiting import FILES, IMAGES, Kind


def files_of(config: Config, settings: Settings) -> ItemFiles | None:
    """Return what keeps the files of items by these settings; None if they name no store. Raise `ConfigError` or
    `OutputError` for a store that cannot be used."""
    for path in settings.ITEM_PIPELINES:
        if path in MEDIA and not getattr(settings, MEDIA[path]):
            raise ConfigError(f'ITEM_PIPELINES: {path} needs a folder for all workers: {MEDIA[path]} = "files"')
    sections: dict[Kind, Section] = {}
    if settings.FILES_STORE:
        library = Library(_store(config, "FILES_STORE", settings.FILES_STORE), "urls", settings.FILES_EXPIRES)
        sections[FILES] = Section(settings.FILES_URLS_FIELD, settings.FILES_RESULT_FIELD, library)
    if settings.IMAGES_STORE:
        library = Library(_store(config, "IMAGES_STORE", settings.IMAGES_STORE), "image_urls", settings.IMAGES_EXPIRES)
        fields = settings.IMAGES_URLS_FIELD, settings.IMAGES_RESULT_FIELD
        sections[IMAGES] = Section(*fields, library, _shape(settings))
    return ItemFiles(sections, message.check, follows=settings.MEDIA_ALLOW_REDIRECTS) if sections else None


def _shape(settings: Settings) -> Callable[[bytes], Shaped] | None:
    """Return what checks and converts images; None if they stay as they come. Raise `ConfigError`."""
    least = settings.IMAGES_MIN_WIDTH, settings.IMAGES_MIN_HEIGHT
    if not (any(least) or settings.IMAGES_THUMBS or settings.IMAGES_FORMAT):
        return None
    from crawler.media.pictures import Pictures  # an extra

    return Pictures(settings.IMAGES_THUMBS, least, settings.IMAGES_FORMAT).read


def _store(config: Config, setting: str, name: str) -> FileStore:
    scheme, is_url, _ = name.partition("://")
    if is_url and SCHEMES.get(scheme.lower()) != SCHEMES["s3"]:
        raise ConfigError(f"{setting}={shown(name)}: expected a folder, such as files, or s3://, gs:// or az://")
    if not is_url:
        folder = Folder(setting, config.folder / Path(name).expanduser())
        folder.check()
        return folder
    from crawler.media.objects import Objects  # an extra

    objects = Objects(name)
    objects.check()
    return objects
