"""Where a command was told to write items."""

from __future__ import annotations

from msgspec import Struct

from crawler.runtime.safe_text import without_password


class Target(Struct, frozen=True):
    """One output, and what may be done with what is there."""

    name: str  # a path, `-`, or a URL
    overwrite: bool = False  # replace what is there, at the end
    append: bool = False  # add to a file of another job, or to one without this job's earlier items

    @property
    def shown(self) -> str:
        """The name for people: without a password."""
        return without_password(self.name)
