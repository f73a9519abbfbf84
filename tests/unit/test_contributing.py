"""CONTRIBUTING.md names files and folders that are there, and `tests/unit` is as it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PATHS = {
    *re.findall(r"\]\(([^)]+)\)", TEXT),
    *re.findall(r"`((?:crawler|tests|spiders|scripts|docs|examples)/[^\s`]*)", TEXT),
}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_path_is_true(path: str) -> None:
    assert (ROOT / path).exists()


ELSEWHERE = {
    "api": "tests/acceptance/test_python_api.py",
    "pytest_plugin": "tests/acceptance/test_record_and_check.py",
    "results": "tests/acceptance/test_results.py",
}
"""Rooms that need whole crawls, or only declare what others do → where they are tested."""


def test_unit_tests_mirror_the_rooms() -> None:
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rooms = {room for row in contract["layers"] for room in row.split(" | ")} - {"__main__"}
    unit = ROOT / "tests/unit"
    tested = {path.relative_to(unit).parts[0] for path in unit.rglob("test_*.py")}
    tested = {name.removeprefix("test_").removesuffix(".py") for name in tested}
    assert tested - rooms == {"scripts", "contributing", "documents", "glossary"}
    assert rooms - tested == ELSEWHERE.keys()
    assert all((ROOT / where).exists() for where in ELSEWHERE.values())
