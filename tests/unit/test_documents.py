"""What the documents point at is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from crawler.frontier.rules import LARGE_BYTES, OLDEST_SHARE

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
ROOMS = r"(?:crawler|scripts|tests|docs|examples)"


def anchors(path: Path) -> set[str]:
    """Of its headings, as the usual hosts of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(path: Path) -> None:
    for name in re.findall(rf"`({ROOMS}/[\w./-]+)`", path.read_text()):
        assert any((base / name).exists() for base in (ROOT, path.parent)), name


def test_the_readme_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = re.search(r"its extras are (.+?):", (ROOT / "README.md").read_text(), re.DOTALL)
    assert listed is not None
    assert re.findall(r"`(.+?)`", listed[1]) == sorted(extras)


def test_performance_states_from_which_size_an_allocator_matters() -> None:
    text = (ROOT / "docs/performance.md").read_text()
    assert f"holds more than {LARGE_BYTES // 1_000_000} MB with the C library's allocator" in re.sub(r"\s+", " ", text)


def test_politeness_states_the_bound_that_holds() -> None:
    text = (ROOT / "docs/politeness.md").read_text()
    assert f"Of every {OLDEST_SHARE} requests of a job one goes to the host that has waited longest" in text
    assert f"**{OLDEST_SHARE} · H / R seconds**" in text
