"""CONTRIBUTING.md names files and folders that are there."""

from __future__ import annotations

import re
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
