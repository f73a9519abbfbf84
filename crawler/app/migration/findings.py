"""What `migrate` has found: each word of Scrapy's with its place, what becomes of it, and the change to make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

State = Literal["have", "different", "missing"]
STATES: tuple[State, ...] = ("missing", "different", "have")


class Word(Struct, frozen=True):
    """A word of a Scrapy project: a setting, an import, an argument… `state`: it works as it is; it works after
    `change`, or means something else; or there is none here, and `change` says what to write instead."""

    state: State
    kind: str
    name: str
    change: str = ""


class Finding(Struct, frozen=True):
    """A word at one place."""

    word: Word
    file: str  # relative to the project
    line: int

    @property
    def where(self) -> str:
        """Such as `shop/spiders/quotes.py:12`."""
        return f"{self.file}:{self.line}"


def grouped(findings: Iterable[Finding]) -> list[tuple[Word, list[str]]]:
    """Return each word with its places: the missing first, then the different; in each state by kind and name."""
    places: dict[Word, list[str]] = {}
    for one in findings:
        places.setdefault(one.word, []).append(one.where)
    return sorted(places.items(), key=lambda pair: (STATES.index(pair[0].state), pair[0].kind, pair[0].name.lower()))
