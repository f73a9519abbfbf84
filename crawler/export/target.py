"""The outputs to which a command writes items."""

from __future__ import annotations

from msgspec import Struct

from crawler.runtime.safe_text import without_password


class Target(Struct, frozen=True):
    """One output, and what may be done with what is there."""

    name: str  # a path, `-`, or a URL
    overwrite: bool = False  # replace what is there, at the end
    append: bool = False  # add to a file of another job, or to one without this job's earlier items
    fields: tuple[tuple[str, str], ...] = ()  # field of an item → its name in the output, in this order; empty: all
    kinds: tuple[str, ...] = ()  # classes of the items that are wanted, by name or import path; empty: all
    spiders: tuple[str, ...] = ()  # whose items are wanted; empty: all
    batch_items: int = 0  # items in a file before the next begins; 0: any
    batch_bytes: int = 0  # the same in bytes
    batch_seconds: float = 0.0  # the same in seconds

    @property
    def shown(self) -> str:
        """The name for people: without a password."""
        return without_password(self.name)
