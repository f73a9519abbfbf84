"""`migrate` on the projects that the crawler runs like Scrapy: it misses nothing in them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.scrapy_projects
from crawler.app.migration.findings import grouped
from crawler.app.migration.project import read_project

FOLDER = Path(next(iter(tests.scrapy_projects.__path__)))
PROJECTS = sorted(cfg.parent.name for cfg in FOLDER.glob("*/scrapy.cfg"))


@pytest.mark.parametrize("name", PROJECTS)
def test_nothing_is_missing_in_what_runs(name: str) -> None:
    words = [word for word, _ in grouped(read_project(FOLDER / name).findings)]
    assert [word for word in words if word.state == "missing"] == []
    assert any(word.state == "have" for word in words)
