"""What a command runs with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog
from msgspec import Struct

from crawler.embedded import server as embedded
from crawler.settings import Settings

log = structlog.get_logger()


class Config(Struct, frozen=True):
    """What a command runs with: the settings in force, where each came from, and the folder it runs in."""

    settings: Settings
    origins: Mapping[str, str]
    folder: Path

    @property
    def explicit(self) -> tuple[str, ...]:
        """Settings given by environment or command line: a spider's own do not override them."""
        return tuple(name for name, origin in self.origins.items() if origin in ("environment", "-s"))


def data_dir(config: Config) -> Path:
    """Where the embedded server of this folder keeps its data."""
    chosen = config.settings.DATA_DIR
    return Path(chosen).expanduser() if chosen else embedded.data_dir_for(config.folder)
