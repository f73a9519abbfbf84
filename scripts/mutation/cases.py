"""Which files are mutated, and which of their mutants are known to change nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.mutation.mutants import Mutant, of_lua, of_python

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = "crawler/frontier/redis/lua"
NUMBERS = "crawler/frontier/rules.py"


class Case(NamedTuple):
    """One mutant of one file."""

    number: int
    path: str
    mutant: Mutant

    def __str__(self) -> str:
        return f"{self.path}:{self.mutant.number}: {self.mutant.change}    in: {self.mutant.line}"


def cases() -> Iterator[Case]:
    """All of them, numbered; those of the numbers' file first."""
    number = 0
    for file in [ROOT / NUMBERS, *sorted((ROOT / SCRIPTS).rglob("*.lua"))]:
        for mutant in (of_lua if file.suffix == ".lua" else of_python)(file.read_text()):
            yield Case(number, str(file.relative_to(ROOT)), mutant)
            number += 1


def equivalent() -> set[tuple[str, str, str]]:
    """(path, line, change) of those that `equivalent.toml` lists, each with its reason there."""
    listed = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text())["mutant"]
    return {(one["file"], one["line"], one["change"]) for one in listed}
