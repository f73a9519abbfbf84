"""Which files are mutated, and which of their mutants are known to change nothing."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.mutation.mutants import Mutant, of_lua, of_python

ROOT = Path(__file__).resolve().parents[2]
Key = tuple[str, str, str, int]  # path, line, change, and which of the equal changes of such lines of the file, from 1
SCRIPTS = "crawler/frontier/redis/lua"
NUMBERS = "crawler/frontier/rules.py"


class Case(NamedTuple):
    """One mutant of one file."""

    number: int
    path: str
    mutant: Mutant
    key: Key

    def __str__(self) -> str:
        return f"{self.path}:{self.mutant.number}: {self.mutant.change}    in: {self.mutant.line}"


def cases() -> Iterator[Case]:
    """All of them, numbered; those of the numbers' file first."""
    number, equal = 0, Counter[tuple[str, str, str]]()
    for file in [ROOT / NUMBERS, *sorted((ROOT / SCRIPTS).rglob("*.lua"))]:
        for mutant in (of_lua if file.suffix == ".lua" else of_python)(file.read_text()):
            path = str(file.relative_to(ROOT))
            change = path, mutant.line, mutant.change
            equal[change] += 1
            yield Case(number, path, mutant, (*change, equal[change]))
            number += 1


def equivalent() -> set[Key]:
    """The keys of those that `equivalent.toml` lists, each with its reason there."""
    listed = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text())["mutant"]
    return {(one["file"], one["line"], one["change"], one.get("nth", 1)) for one in listed}
