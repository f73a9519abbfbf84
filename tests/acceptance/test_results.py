"""The states of real jobs, as programs read them, and the schema in docs/results.md that all of them keep to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from crawler.results import VERSION, JobResult, State, job_result
from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.webserver import Running

SPIDER = """
from crawler import Spider
class Shop(Spider):
    name = "shop"
    def parse(self, response):
        {}["price"]
"""
(SCHEMA,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/results.md").read_text(), re.DOTALL)


class Seen:
    """The results that a test reads; at its end all must keep to the schema."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._files: list[str] = []

    async def jobs(self) -> list[JobResult]:
        """The result of each job, from `status --json`; the same as the Python API returns."""
        found = [job["result"] for job in json.loads((await self._shell.run("status", "--json")).out)["jobs"]]
        for one in found:
            self._files.append(str(self._shell.folder / f"result{len(self._files)}.json"))
            Path(self._files[-1]).write_text(json.dumps(one))
        read = [msgspec.convert(one, JobResult) for one in found]
        assert [await ask(self._shell, one.job) for one in read] == read
        return read

    async def job(self) -> JobResult:
        """The result of the only job."""
        (one,) = await self.jobs()
        return one

    def keep_to_the_schema(self) -> None:
        schema = self._shell.folder / "schema.json"
        schema.write_text(SCHEMA)
        subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), *self._files], check=True
        )


@pytest.fixture
def seen(shell: Shell) -> Iterator[Seen]:
    reader = Seen(shell)
    yield reader
    reader.keep_to_the_schema()


async def ask(shell: Shell, job: str) -> JobResult:
    """What the Python API says of a job."""
    settings = {"REDIS_URL": shell.environment.get("REDIS_URL", ""), "DATA_DIR": str(shell.folder / "data")}
    return await job_result(job, folder=shell.folder, settings={**settings, "KEY_PREFIX": shell.folder.name})


def test_the_schema_names_each_field_and_state() -> None:
    parts = json.loads(SCHEMA)["$defs"]
    sample = json.loads(msgspec.json.encode(JobResult("news", State.PENDING)))
    assert list(parts["job"]["properties"]) == parts["job"]["required"] == list(sample)
    assert list(parts["progress"]["properties"]) == parts["progress"]["required"] == list(sample["progress"])
    assert parts["state"]["enum"] == list(State)
    assert parts["job"]["properties"]["version"] == {"const": VERSION}


async def test_a_job_from_its_seeds_to_its_exported_items(shell: Shell, site: Running, seen: Seen) -> None:
    assert (await ask(shell, "default")).state == "UNKNOWN"
    await shell.run("seed", site.seeds[0], *LOCAL)
    assert (await seen.job()).state == "PENDING"
    await shell.run("control", "pause", "job:default", "--why", "not today")
    paused = await seen.job()
    assert (paused.state, "not today" in paused.reason) == ("REVOKED", True)
    await shell.run("control", "resume", "job:default")
    await shell.run("worker", "--until-finished", "--processes", "1", *LOCAL)
    unexported = await seen.job()
    assert unexported.state == "STARTED"
    assert unexported.progress.unexported == unexported.progress.pages > 0
    await shell.run("export", "-o", "items.jsonl")
    done = await seen.job()
    assert (done.state, done.reason, done.failure) == ("SUCCESS", "", None)
    assert done.progress.items == len((shell.folder / "items.jsonl").read_text().splitlines())
    no_such = await ask(shell, "defautl")
    assert (no_such.state, "did you mean default?" in no_such.reason) == ("UNKNOWN", True)


async def test_a_job_whose_callback_fails_tells_its_traceback(shell: Shell, site: Running, seen: Seen) -> None:
    file = shell.folder / "spiders" / "shop.py"
    file.parent.mkdir()
    file.write_text(SPIDER)
    ended = await shell.run("crawl", site.seeds[0], "--spider", "shop", "-o", "items.jsonl", *LOCAL)
    assert ended.code == 1
    failed = await seen.job()
    assert (failed.state, failed.progress.dead) == ("FAILURE", 1)
    assert failed.failure is not None
    assert (failed.failure.kind, failed.failure.error, failed.failure.line) == (
        "callback",
        "KeyError",
        "spiders/shop.py:6",
    )
    assert '{}["price"]' in failed.failure.traceback


async def test_asking_starts_no_server_where_none_has_ever_run(bare: Shell) -> None:
    assert (await ask(bare, "default")).state == "UNKNOWN"
    assert not (bare.folder / "data").exists()
