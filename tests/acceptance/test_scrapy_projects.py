"""Six projects written for Scrapy run with Scrapy and, moved, with the crawler: the same requests, the same items."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.scrapy_projects.moving import PROJECTS, SPIDERS, moved
from tests.scrapy_projects.site import ProjectSite
from tests.webserver import Hit, Running, serve

SITE = "http://site"

# What differs by design, and why. Everything else is compared, byte for byte.
NOT_COMPARED: Mapping[str, str] = {
    "host": "each run has a port of its own",
    "connection": "both keep their connections; only one of them says so",
    "accept-encoding": "each names the encodings that it can decode",
}
OURS = ("-s", "NOFOLLOW_LINKS_OBEY=false")  # Scrapy follows links marked rel=nofollow; the crawler does when told to
DEFAULTS: Mapping[str, str] = {"en": "accept-language of Scrapy", "en,*;q=0.5": "of the crawler, RFC 9110"}


class Ran(NamedTuple):
    """What one run asked for and found: each request and each item as JSON, with how often; and what it counted."""

    requests: Counter[str]
    items: Counter[str]
    stats: Mapping[str, Any]


@pytest.mark.parametrize(("project", "spider"), SPIDERS.items())
async def test_a_moved_project_makes_the_same_requests_and_items(project: str, spider: str, shell: Shell) -> None:
    theirs, ours = await by_scrapy(project, spider, shell.folder), await by_us(project, spider, shell)
    assert ours.requests == theirs.requests
    assert ours.items == theirs.items
    assert ours.stats == {name: count for name, count in theirs.stats.items() if name.startswith(f"{project}/")}
    assert theirs.items.total() == theirs.stats["item_scraped_count"] > 5
    assert theirs.stats["finish_reason"] == "finished"
    assert theirs.stats.get("log_count/ERROR", 0) == theirs.stats.get("retry/max_reached", 0)


# ---------------------------------------------------------------------------------------------------------


async def by_scrapy(project: str, spider: str, folder: Path) -> Ran:
    """Run the project as it is with Scrapy."""
    output, stats = folder / "scrapy.jsonl", folder / "scrapy.json"
    async with serve(ProjectSite()) as running:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROJECTS / "run_scrapy.py"), spider, str(output), str(stats)),
            f"site={running.seeds[0]}",
            cwd=PROJECTS / project,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, log = await process.communicate()
        assert process.returncode == 0, log.decode()
        return _ran(running, output, json.loads(stats.read_text()))


async def by_us(project: str, spider: str, shell: Shell) -> Ran:
    """Run the moved project with the crawler."""
    moved(project, shell.folder)
    async with serve(ProjectSite()) as running:
        site = running.seeds[0]
        ended = await shell.run(
            "crawl", "--spider", spider, "-a", f"site={site}", "-O", "items.jsonl", "--json", *LOCAL, *OURS
        )
        assert ended.code == 0, ended.err
        return _ran(running, shell.folder / "items.jsonl", json.loads(ended.out)["own"])


def _ran(running: Running, output: Path, stats: Mapping[str, Any]) -> Ran:
    site = running.seeds[0]
    requests = Counter(_request(hit, site) for hit in running.log if hit.path != "/robots.txt")
    return Ran(requests, Counter(_items(output.read_text().replace(site, SITE).splitlines())), stats)


def _request(hit: Hit, site: str) -> str:
    headers = {name: value for name, value in hit.headers.items() if not _differs(name, value, site)}
    return json.dumps([hit.method, hit.url.replace(site, SITE), headers, hit.body], sort_keys=True)


def _differs(name: str, value: str, site: str) -> bool:
    if (
        name == "referer"
    ):  # Scrapy tells a site which of its pages a link stood on; the crawler sends what a spider sets
        return value.startswith(site)
    return name in NOT_COMPARED or (name == "accept-language" and value in DEFAULTS)


def _items(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield json.dumps(json.loads(line), sort_keys=True)
