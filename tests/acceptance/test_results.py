"""The states of real jobs, as programs read them, and the schema in docs/results.md that all of them keep to."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from crawler.errors import UsageError
from crawler.model import Failure
from crawler.results import VERSION, JobResult, State, UrlResult, job_result, url_result
from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.webserver import Running
from tests.website import Answer

SPIDER = """
from crawler import Spider
class Shop(Spider):
    name = "shop"
    def parse(self, response):
        {}["price"]
"""
DOCUMENT = (ROOT / "docs/results.md").read_text()
(SCHEMA,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


T = TypeVar("T")


class Seen:
    """The results that a test reads from Python; at its end all must keep to the schema."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._files: list[str] = []
        (shell.folder / "settings.py").write_text(f"KEY_PREFIX = {shell.folder.name!r}\nDATA_DIR = 'data'\n")
        self._settings = {"REDIS_URL": shell.environment.get("REDIS_URL", "")}

    async def job(self, name: str = "default") -> JobResult:
        """The result of a job."""
        return self._kept(await job_result(name, folder=self._shell.folder, settings=self._settings))

    async def url(self, url: str, job: str = "default") -> UrlResult:
        """The result of a URL."""
        return self._kept(await url_result(url, job, folder=self._shell.folder, settings=self._settings))

    async def told(self, *command: str) -> object:
        """The result that a command prints with `--json`, of the only job."""
        (job,) = json.loads((await self._shell.run(*command, "--json", *LOCAL)).out)["jobs"]
        return job["result"]

    def _kept(self, result: T) -> T:
        self._files.append(str(self._shell.folder / f"result{len(self._files)}.json"))
        Path(self._files[-1]).write_bytes(msgspec.json.encode(result))
        return result

    def keep_to_the_schema(self) -> None:
        schema = self._shell.folder / "schema.json"
        schema.write_text(SCHEMA)
        command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), *self._files]
        subprocess.run(command, check=True)


@pytest.fixture
def seen(shell: Shell) -> Iterator[Seen]:
    reader = Seen(shell)
    yield reader
    reader.keep_to_the_schema()


def test_the_schema_names_each_field_and_state() -> None:
    parts = json.loads(SCHEMA)["$defs"]
    sample = json.loads(msgspec.json.encode(JobResult("news", State.PENDING)))
    assert list(parts["job"]["properties"]) == parts["job"]["required"] == list(sample)
    assert list(parts["progress"]["properties"]) == parts["progress"]["required"] == list(sample["progress"])
    assert parts["state"]["enum"] == list(State)
    assert parts["job"]["properties"]["version"] == {"const": VERSION}
    of_url = json.loads(msgspec.json.encode(UrlResult("news", "http://a.example/", State.PENDING)))
    assert list(parts["url"]["properties"]) == parts["url"]["required"] == list(of_url)
    assert list(parts["failure"]["properties"]) == parts["failure"]["required"] == list(Failure.__struct_fields__)


async def test_a_job_from_its_seeds_to_its_exported_items(shell: Shell, site: Running, seen: Seen) -> None:
    url = site.seeds[0]
    assert (await seen.job()).state == (await seen.url(url)).state == "UNKNOWN"
    await shell.run("seed", url, *LOCAL)
    assert (await seen.job()).state == (await seen.url(url)).state == "PENDING"
    assert (await seen.url(f"{url}?other")).state == "UNKNOWN"
    await shell.run("control", "pause", "job:default", "--why", "not today")
    for paused in (await seen.job(), await seen.url(url)):
        assert (paused.state, "not today" in paused.reason) == ("REVOKED", True)
    await shell.run("control", "resume", "job:default")
    await shell.run("worker", "--until-finished", "--processes", "1", *LOCAL)
    unexported = await seen.job()
    assert unexported.state == (await seen.url(url)).state == "STARTED"
    assert unexported.progress.unexported == unexported.progress.pages > 0
    await shell.run("export", "-o", "items.jsonl")
    done = await seen.job()
    assert (done.state, done.reason, done.failure) == ("SUCCESS", "", None)
    assert done.progress.items == len((shell.folder / "items.jsonl").read_text().splitlines())
    assert (await seen.url(url)).state == "SUCCESS"
    no_such = await seen.job("defautl")
    assert (no_such.state, "did you mean default?" in no_such.reason) == ("UNKNOWN", True)


async def test_a_callback_that_fails_tells_its_traceback(shell: Shell, site: Running, seen: Seen) -> None:
    file = shell.folder / "spiders" / "shop.py"
    file.parent.mkdir()
    file.write_text(SPIDER)
    url = site.seeds[0]
    ended = await shell.run("crawl", url, "--spider", "shop", "--job", "news", "-o", "items.jsonl", *LOCAL)
    assert ended.code == 1
    job, page = await seen.job("news"), await seen.url(url, "news")
    for found in (job, page):
        assert found.state == "FAILURE"
        assert found.failure is not None
        assert (found.failure.kind, found.failure.error) == ("callback", "KeyError")
        assert found.failure.line == "spiders/shop.py:6"
        assert '{}["price"]' in found.failure.traceback
    assert job.progress.dead == 1
    said = await run_example(shell, {"/srv/news": str(shell.folder), "https://example.com/a": url})
    assert said.index('{}["price"]') < said.index("FAILURE dead: given up")
    assert await seen.told("status") == msgspec.to_builtins(job)
    assert await seen.told("why", url) == msgspec.to_builtins(page)


async def run_example(shell: Shell, instead: Mapping[str, str]) -> str:
    """Run the example of the document, with other texts in it, in another folder than the project's."""
    code = EXAMPLE
    for text, other in instead.items():
        assert text in code
        code = code.replace(text, other)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd="/", env=shell.environment, stdout=asyncio.subprocess.PIPE
    )
    return (await program.communicate())[0].decode()


async def test_what_its_host_refuses_for_now_is_tried_again(shell: Shell, site: Running, seen: Seen) -> None:
    url = site.seeds[0]
    site.site.on("/s0/p0", lambda hit, page: Answer(status=503))  # type: ignore[attr-defined]
    await shell.run("seed", url, *LOCAL)
    worker = await shell.start("worker", "--processes", "1", *LOCAL, "-s", "BACKOFF_SECONDS=3600")
    async with asyncio.timeout(30):
        while (job := await seen.job()).state != "RETRY":
            assert job.state in ("PENDING", "STARTED")
            await asyncio.sleep(0.1)
    page = await seen.url(url)
    assert page.state == "RETRY"
    for found in (job, page):
        assert "503 Service Unavailable" in found.reason
        assert "answered 503 (1st time); next try" in found.reason
    worker.terminate()
    await worker.communicate()


async def test_asking_starts_no_server_where_none_has_ever_run(bare: Shell) -> None:
    asked = Seen(bare)
    assert (await asked.job()).state == (await asked.url("http://a.example/")).state == "UNKNOWN"
    assert not (bare.folder / "data").exists()


async def test_what_is_no_url_is_an_error(bare: Shell) -> None:
    with pytest.raises(UsageError, match="only http and https are"):
        await Seen(bare).url("ftp://a.example/")
