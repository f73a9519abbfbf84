"""P5, P6: items that wait for their files leave once, each with all its files, whatever is killed meanwhile."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.judge import read_items
from tests.chaos.stage import Scale, Stage, Theatre
from tests.chaos.test_items import kill_the_exporter
from tests.webserver import Answer, Hit

# Each page names a file that many name, one of its own on another host, one that moves to another place with each
# request, one that is there at every second request, and one that is never there.
SPIDER = """
from crawler import Follow, Spider

class Filing(Spider):
    name = "filing"
    stay_on_seeded_hosts = True
    custom_settings = {"FILES_STORE": "files", "MEDIA_ALLOW_REDIRECTS": True}

    def parse(self, response):
        if response.is_html:
            n = int(response.url.rpartition("/p")[2].removesuffix(".html"))
            base = response.urljoin("/")
            other = base.replace("127.0.1.1", "127.0.1.2") if n % 2 else base
            names = [f"shared/{n % 9}.jpg", f"own/{n}.jpg", f"moves/{n}", f"doubt/{n}", f"gone/{n}"]
            yield {"url": response.url, "file_urls": [f"{other}media/{name}" for name in names[: 1 + n % 5]]}
            yield Follow(response.links)
"""


def media(hit: Hit, missing: Answer) -> Answer:
    kind, _, name = hit.path.removeprefix("/media/").partition("/")
    if kind == "gone" or (kind == "doubt" and hit.number % 2):
        return Answer(b"not here", status=404)
    if kind == "moves":
        return Answer(status=302, headers={"Location": f"/media/target/{name}?{hit.number}"})
    return Answer(f"{kind} {name}".encode() * 500, content_type="image/jpeg")


async def begin(stage: Stage) -> None:
    stage.site.on("/media/", media)
    stage.fleet.spider("filing", SPIDER)
    await stage.start(spider="filing")


def is_whole(files: Path, told: dict[str, Any]) -> bool:
    """Whether the store has what an item says of a file."""
    if told["path"] is None:
        return str(told["status"]) == "http_404"
    content = (files / told["path"]).read_bytes()
    return bool(hashlib.sha256(content).hexdigest() == told["checksum"] == told["path"][:65].replace("/", ""))


async def expect(stage: Stage) -> None:
    """Wait for the end: each page's item is there once, and tells all that became of its files."""
    row, site, store = stage.row, stage.site, stage.fleet.folder / "files"
    crawl = await stage.finish()
    items, broken = read_items(stage.output)
    truth = {site.url(n) for n in range(site.pages)}
    written = Counter(str(item["url"]) for item in items)
    told: list[tuple[list[str], list[dict[str, Any]]]] = [(item["file_urls"], item["files"]) for item in items]  # type: ignore[misc]
    job = await stage.job()
    row.told("files", sum(file["path"] is not None for _, files in told for file in files))
    row.faults_before(stage.finished_at)
    row.exactly("lost", crawl.lost, 0)
    row.exactly("missing", len(truth - written.keys()), 0)
    row.exactly("twice", written.total() - len(written), 0)
    row.exactly("broken", broken, 0)
    row.exactly("items with other files", sum(urls != [file["url"] for file in files] for urls, files in told), 0)
    row.exactly("files not as told", sum(not is_whole(store, file) for _, files in told for file in files), 0)
    kept = [path for path in store.rglob("*.jpg") if path.is_file()]
    torn = [path for path in kept if hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name + path.stem]
    row.exactly("torn files", len(torn), 0)
    row.exactly("dead", len(await stage.dead()), 0)
    row.exactly("still waiting", job["counters"]["files/waiting"] - job["counters"]["files/complete"], 0)


def _pages(scale: Scale) -> int:
    return scale.pages if scale.is_long else 60


async def test_p06_items_that_wait_for_files(theatre: Theatre) -> None:
    """Workers, machines, exporter and queue server are killed by turns."""
    settings = {"SHARDS": 3}
    async with theatre("P6", "files of items, kill -9 of all", settings=settings, pages=_pages(theatre.scale)) as stage:
        await begin(stage)
        for number, share in enumerate(stage.moments(max(4, stage.scale.faults))):
            await stage.reached(share)
            if number % 4 == 0:
                await stage.kill_a_child()
            elif number % 4 == 1:
                await stage.kill_a_machine()
            elif number % 4 == 2:
                await stage.exporter_at_work()
                await stage.kill_the_server()
            else:
                await kill_the_exporter(stage)
        await expect(stage)
