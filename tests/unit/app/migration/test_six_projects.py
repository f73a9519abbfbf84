"""What `migrate` says of the six projects that run with Scrapy and with the crawler: nothing is missing, and the lines
that it wants changed are those that were changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.app.migration.findings import grouped
from crawler.app.migration.project import read_project
from tests.scrapy_projects.moving import PROJECTS, SPIDERS, moved


@pytest.mark.parametrize("project", SPIDERS)
def test_nothing_is_missing(project: str) -> None:
    assert [word for word, _ in grouped(read_project(PROJECTS / project).findings) if word.state == "missing"] == []


@pytest.mark.parametrize("project", SPIDERS)
def test_the_lines_to_change_are_those_that_were_changed(project: str, tmp_path: Path) -> None:
    found = read_project(PROJECTS / project).findings
    different = {place for word, places in grouped(found) if word.state == "different" for place in places}
    assert different == moved(project, tmp_path).keys()
    assert [word for word, _ in grouped(read_project(tmp_path).findings) if word.state != "have"] == []
