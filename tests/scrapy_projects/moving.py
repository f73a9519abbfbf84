"""What a user changes in a Scrapy project so that the crawler runs it, as `crawler migrate` advises."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

PROJECTS = Path(__file__).parent

# project → its spider
SPIDERS = {
    "bookshop": "books",
    "handbook": "handbook",
    "press": "articles",
    "portal": "orders",
    "prices": "products",
    "weather": "stations",
}

CHANGES = (
    (r"^import scrapy$", "import crawler as scrapy"),
    (r"^from scrapy(\.\w+)* import (.*Error.*)$", r"from crawler.errors import \2"),
    (r"^from scrapy(\.\w+)* import ", "from crawler import "),
    (r', b""\)\.decode\(\)', ', "")'),  # the value of a header is text
)
"""Every change to a line of Python: a regex, and what is written instead."""


def moved(project: str, folder: Path) -> dict[str, str]:
    """Copy a project into `folder` and change it; return the lines that were changed, by their place `file:line`."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECTS / project, folder, dirs_exist_ok=True, ignore=ignored)
    return {
        f"{file.relative_to(folder)}:{number}": line
        for file in sorted(folder.rglob("*.py"))
        for number, line in _changed(file)
    }


def _changed(file: Path) -> list[tuple[int, str]]:
    before = file.read_text()
    after = before
    for regex, instead in CHANGES:
        after = re.sub(regex, instead, after, flags=re.MULTILINE)
    file.write_text(after)
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [(number, new) for number, (old, new) in enumerate(pairs, 1) if old != new]
