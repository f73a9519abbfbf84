"""The chaos suite's fixtures, its size (see `__main__.py`), and the table at the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.judge import table
from tests.chaos.stage import Scale, Theatre

SHORT = Scale()
IS_LONG = "CHAOS_PAGES" in os.environ


@pytest.fixture(scope="session")
def scale() -> Scale:
    """Short, unless `python -m tests.chaos` says otherwise."""
    if not IS_LONG:
        return SHORT
    return Scale(
        pages=int(os.environ["CHAOS_PAGES"]),
        hosts=8,
        workers=4,
        faults=int(os.environ["CHAOS_FAULTS"]),
        minutes=int(os.environ["CHAOS_MINUTES"]),
        is_long=True,
    )


@pytest.fixture
def theatre(tmp_path: Path, seed: int, scale: Scale) -> Theatre:
    """Call it to set a stage."""
    return Theatre(tmp_path, seed, scale)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what only the long form plays out of the short one."""
    if not IS_LONG:
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="in the long form: scripts/chaos"))


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "long: a second look at a promise, played by scripts/chaos alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every scenario runs once a random seed."""
    if "theatre" in metafunc.fixturenames:
        first, runs = int(os.environ.get("CHAOS_SEED", "1")), int(os.environ.get("CHAOS_REPEAT", "1"))
        metafunc.parametrize("seed", range(first, first + runs))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, and what could not be played here."""
    cut = [one for one in terminalreporter.getreports("skipped") if "network namespaces" in str(one.longrepr)]
    if cut and IS_LONG:
        why = "scenarios of P37 in which a master is cut off need root and network namespaces (ip netns)"
        terminalreporter.write_line(f"NOT TESTED: {len(cut)} {why}", yellow=True, bold=True)
    rows = table()
    if rows:
        terminalreporter.section("promises")
        for row in rows:
            terminalreporter.write_line(row)
