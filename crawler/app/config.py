"""The configuration of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog
from msgspec import Struct

from crawler.embedded import server as embedded
from crawler.settings import Settings

log = structlog.get_logger()


class Config(Struct, frozen=True):
    """The settings in force, the origin of each, and the folder that the command runs in."""

    settings: Settings
    origins: Mapping[str, str]
    folder: Path

    @property
    def explicit(self) -> tuple[str, ...]:
        """The settings given by environment or command line; a spider's `custom_settings` do not override them."""
        return tuple(name for name, origin in self.origins.items() if origin in ("environment", "-s"))


def data_dir(config: Config) -> Path:
    """Return the folder where the embedded server of this project keeps its data."""
    chosen = config.settings.DATA_DIR
    return Path(chosen).expanduser() if chosen else embedded.data_dir_for(config.folder)
