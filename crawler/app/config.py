"""The configuration of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from crawler.embedded import server as embedded
from crawler.errors import ConfigError
from crawler.runtime.setting_layers import ENVIRONMENT
from crawler.settings import FEED_NAMES, PER_PROCESS, PROGRAMS, Settings, override, own_settings
from crawler.worker.process import Preforked

if TYPE_CHECKING:
    from crawler.spiders.registry import Registry

log = structlog.get_logger()


_RULES = ("COVERAGE_RULES", "MIN_ITEMS")  # of the items of a job


class Config(Struct, frozen=True):
    """The settings in force, the origin of each, the folder that the command runs in, the spiders of a program that
    crawls in its own process (None: those of the folder), and the worker processes that wait for a supervisor."""

    settings: Settings
    origins: Mapping[str, str]
    folder: Path
    registry: Registry | None = None
    preforked: Preforked = Preforked()

    @property
    def explicit(self) -> tuple[str, ...]:
        """The settings given by environment, command line or program; a spider's `custom_settings` do not override
        them."""
        strong = (ENVIRONMENT, "-s", PROGRAMS)
        return tuple(name for name, origin in self.origins.items() if origin.partition(",")[0] in strong)


def data_dir(config: Config) -> Path:
    """Return the folder where the embedded server of this project keeps its data."""
    chosen = config.settings.DATA_DIR
    try:
        return config.folder / Path(chosen).expanduser() if chosen else embedded.data_dir_for(config.folder)
    except RuntimeError:
        raise ConfigError(f"DATA_DIR={chosen}: this user has no home folder for ~; write an absolute path") from None


def for_one_spider(config: Config, custom_settings: Mapping[str, Any] | None, spider: str) -> Config:
    """Return `config` with what the only spider that the command runs sets for the whole process: its DOWNLOAD_DELAY
    and the names in `PER_PROCESS`, where its items go, and their rules, unless the user set others."""
    own = own_settings(config.settings, spider, custom_settings)
    settings = override(config.settings, own, f"spider {spider}", keep=config.explicit)
    ours = {name: getattr(settings, name) for name in ("DOWNLOAD_DELAY", *PER_PROCESS, *FEED_NAMES, *_RULES)}
    return replace(config, settings=replace(config.settings, **ours))
