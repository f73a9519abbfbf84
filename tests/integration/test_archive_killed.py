"""Workers with an archive, killed again and again: each committed page is in the index once, and in the files."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from crawler.archive.files import repair
from tests.chaos.fleet import Fleet, until
from tests.integration.test_archive import check, read
from tests.valkey import Valkey
from tests.webserver import serve
from tests.website import Site, slow

KILLS = int(os.environ.get("KILLS", "3"))  # the long form: 100
PAGES = 60 * KILLS + 40
WORKERS = 3
SETTINGS = {
    "ALLOWED_NETWORKS": "127.0.0.0/8",
    "DOWNLOAD_DELAY": "0",
    "CONCURRENT_REQUESTS_PER_DOMAIN": "4",
    "LEASE_SECONDS": "3",
    "WARC_DIR": "archive",
    "WARC_MAXSIZE": "1000000",
}


@pytest.mark.timeout(120 + 10 * KILLS)
async def test_each_page_is_in_the_index_once(tmp_path: Path) -> None:
    site, chance = Site(PAGES, 4, tree=True), random.Random(1)
    site.on("/", slow(0.2))
    with Valkey() as valkey:
        fleet = Fleet(tmp_path, valkey.url, SETTINGS)
        try:
            async with serve(site) as web:
                await (await fleet.run("seed", *site.seeds, "--job", "x")).ended()
                index = await fleet.run("export", "--job", "x", "-o", "pages.cdxj", "--until-finished")
                for _ in range(WORKERS):
                    await fleet.worker("--job", "x")
                for _ in range(KILLS):
                    goal = min(len(web.log) + 8, PAGES - 1)
                    await until(lambda goal=goal: len(web.log) > goal, "more pages", 60)  # type: ignore[misc]
                    worker = chance.choice(fleet.running)
                    await until(lambda worker=worker: worker.children, "a child")  # type: ignore[misc]
                    if chance.random() < 0.5:
                        os.kill(worker.children[0], 9)
                    else:
                        worker.kill()
                        await worker.ended()
                        await fleet.worker("--job", "x")
                assert await index.ended(60 + 3 * KILLS) == 0
                await fleet.stop_workers()
        finally:
            await fleet.close()
    repair(tmp_path / "archive")  # as the next worker would
    check(tmp_path / "archive")
    entries = [json.loads(line.split(" ", 2)[2]) for line in (tmp_path / "pages.cdxj").read_text().splitlines()]
    counted = Counter(entry["url"] for entry in entries)
    assert (set(counted), set(counted.values())) == (site.truth(), {1})
    records = {(one.file, str(one.offset)): one.fields for one in read(tmp_path / "archive")}
    for entry in entries:
        assert records[entry["filename"], entry["offset"]]["WARC-Target-URI"] == entry["url"]
    pages = sum(fields["WARC-Type"] in ("response", "revisit") for fields in records.values())
    print(
        f"{KILLS} kills: {len(entries)} lines of {PAGES} pages, {pages} visits in {len({f for f, _ in records})} files"
    )
