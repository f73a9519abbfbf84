"""A pytest plugin that makes each saved page a test: `crawler check`, one page at a time.

    pytest -p crawler.pytest_plugin

The pages are those below `tests/pages`, or below the folder of the ini option `crawler_pages`; the spiders and settings
are those of pytest's root folder. See docs/cache-and-checks.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.program import PROGRAM


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option."""
    parser.addini("crawler_pages", "folder of the saved pages", default="tests/pages")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Collect a saved page."""
    folder = parent.config.rootpath / parent.config.getini("crawler_pages")
    if file_path.suffix != ".json" or not file_path.is_relative_to(folder):
        return None
    from crawler.testing.saved_pages import is_readable_file  # takes a while, and few runs of pytest have pages

    if not is_readable_file(file_path):
        return None
    return SavedPageFile.from_parent(parent, path=file_path)


class SavedPageFile(pytest.File):
    """The readable file of a page."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield its only test."""
        yield SavedPageTest.from_parent(self, name=self.path.stem)


class SavedPageTest(pytest.Item):
    """Fails with the diff between what is saved and what the callback makes of the page now."""

    def runtest(self) -> None:
        """Run the callback."""
        from crawler.app.config import Config
        from crawler.app.record import check_one
        from crawler.settings import load

        folder = self.config.rootpath
        settings, origins = load(folder)
        checked = check_one(Config(settings, origins, folder), self.path)
        for loss in checked.losses:
            self.warn(pytest.PytestWarning(f"lost: {loss}"))
        if checked.diff:
            raise Differs(checked.diff)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the diff alone."""
        if isinstance(excinfo.value, Differs):
            return f"{excinfo.value}\n(`{PROGRAM} check --update` saves what the spider makes of it now)"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test is."""
        return self.path, 0, f"saved page {self.name}"


class Differs(Exception):
    """The results differ; the text is the diff."""
