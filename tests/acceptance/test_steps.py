"""The single steps of a crawl as people meet them: worker, export, dead, redrive, jobs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, Shell, silent_port
from tests.webserver import Running
from tests.website import Answer, Hit


async def test_the_single_steps(shell: Shell, site: Running) -> None:
    await shell.run("seed", *site.seeds, *LOCAL)
    before = json.loads((await shell.run("status", "--json")).out)["jobs"][0]
    assert (before["finished"], before["idle"]) == (False, "no worker is running; start one with: crawler worker")
    worker = await shell.run("worker", "--until-finished", "--processes", "1", *LOCAL)
    assert worker.code == 0, worker.err
    assert "items wait for export" in (await shell.run("jobs")).out
    kept = await shell.run("jobs", "delete", "default")
    assert (kept.code, "that no file holds yet; write them: crawler export --job default" in kept.error) == (2, True)
    export = await shell.run("export", "-o", "items.jsonl", "--until-finished")
    total = len(site.site.truth())  # type: ignore[attr-defined]
    assert (export.code, export.err) == (0, f"{total} items → items.jsonl (job default)\n")
    assert len((shell.folder / "items.jsonl").read_text().splitlines()) == total
    assert re.search(r"default .* finished", (await shell.run("jobs")).out)
    assert "no dead letters" in (await shell.run("dead")).out
    assert "nothing to take back" in (await shell.run("reap")).out
    assert (
        await shell.run("jobs", "delete", "defualt")
    ).error == "error: no job is named 'defualt'; did you mean default? there are: default"
    assert (await shell.run("jobs", "delete", "default")).out == "deleted job default\n"
    assert (await shell.run("jobs")).out.strip() == "no jobs"


async def test_dead_letters_are_listed_and_redriven(shell: Shell) -> None:
    with silent_port() as port:
        url = f"http://127.0.0.1:{port}/"
        ended = await shell.run(
            "crawl", url, *LOCAL, "--processes", "1", "-s", "RETRY_TIMES=0", "-s", "ROBOTSTXT_OBEY=false"
        )
    assert ended.code == 1, "more was given up than fetched"
    assert "crawler redrive --all" in ended.err
    (line,) = (await shell.run("dead", "--list", "--json")).out.splitlines()
    letter = json.loads(line)
    assert (letter["url"], letter["failure"]["kind"]) == (url, "connect")
    assert url in (await shell.run("dead")).out
    wrong = await shell.run("redrive", "no-such-id")
    assert (wrong.code, "are not dead letters of job" in wrong.error) == (2, True)
    assert (await shell.run("redrive", letter["id"])).out.startswith("1 back to pending")
    assert (await shell.run("redrive", "--all")).out.startswith("0 back to pending")


async def test_workers_exporters_and_seeds_may_be_strict_about_losses(shell: Shell) -> None:
    with silent_port() as port:
        seeds = (f"http://127.0.0.1:{port}/", "mailto:me@a.example")
        assert (await shell.run("seed", *seeds, "--strict", *LOCAL)).code == 3
        options = ("--processes", "1", *LOCAL, "-s", "RETRY_TIMES=0", "-s", "ROBOTSTXT_OBEY=false")
        ended = await shell.run("worker", "--until-finished", "--strict", *options)
    assert ended.code == 3, ended.err
    assert "1 page: given up" in ended.err
    (job,) = json.loads((await shell.run("jobs", "--json")).out)
    assert [one["counter"] for one in job["losses"]] == ["dead"]
    assert (await shell.run("worker", "--strict")).code == 2, "it judges finished jobs"
    assert (await shell.run("export", "-o", "items.jsonl")).code == 0
    exported = await shell.run("export", "--until-finished", "--strict", "-o", "items.jsonl")
    assert exported.code == 3
    assert "1 page: given up" in exported.err
    following = await shell.start("export", "--follow", "-o", "items.jsonl", "-s", "STRICT=true")
    while not json.loads((await shell.run("status", "--json")).out)["jobs"][0]["exporter"]:
        pass
    following.terminate()
    assert await following.wait() == 3


FAULTY = """
from crawler import Spider

class Faulty(Spider):
    name = "faulty"

    def parse(self, response):
        yield {"url": response.url}
        price = {}["\x1b[31mprice"]
"""


async def test_dead_letters_in_groups_filtered_shown_and_dropped(shell: Shell, site: Running) -> None:
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "faulty.py").write_text(FAULTY)
    with silent_port() as port:
        urls = (*site.seeds, f"http://127.0.0.1:{port}/")
        options = ("--spider", "faulty", "--processes", "1", "-s", "RETRY_TIMES=0", "-s", "ROBOTSTXT_OBEY=false")
        await shell.run("crawl", *urls, *LOCAL, *options)
    by_line = await _json_lines(shell, "dead", "--group", "error", "--group", "line")
    assert {one["error"] for one in by_line} == {"callback/KeyError", "connect"}
    assert {one["line"] for one in by_line} == {"spiders/faulty.py:9", ""}
    broken = next(one for one in by_line if one["line"])
    table = (await shell.run("dead")).out
    assert re.search(rf"{broken['count']} +{broken['job']} +callback/KeyError +spiders/faulty.py:9 ", table)

    shown = (await shell.run("dead", "show", broken["example"]["id"])).out
    assert broken["example"]["url"] in shown
    assert "KeyError: '\\x1b[31mprice'" in shown
    assert '    price = {}["' in shown
    assert "\x1b" not in shown
    assert "no-such-id" in (await shell.run("dead", "show", "no-such-id")).error

    letters = await _json_lines(shell, "dead", "--list", "--where", "error=connect", "--where", "host=127.*")
    assert [letter["failure"]["kind"] for letter in letters] == ["connect"]
    assert "matches" in (await shell.run("dead", "--where", "url=nothing")).out
    assert (await shell.run("drop", "--where", "error=connect")).out == f"1 dropped (job {broken['job']})\n"
    redriven = await shell.run("redrive", "--where", "line=spiders/faulty.py:*", "--where", "spider=faulty")
    assert redriven.out == f"{broken['count']} back to pending (job {broken['job']})\n"
    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert (job["dead"], job["dropped"], job["pending"]) == (0, 1, broken["count"])


async def test_a_host_that_forbids_is_paused_said_so_and_resumed(shell: Shell, site: Running) -> None:
    """20 URLs of a host that says 403: it is asked no more than it takes to see that, and after a resume it goes on."""
    forbidding = True

    def maybe(hit: Hit, page: Answer) -> Answer:
        return Answer(status=403) if forbidding else Answer(b"<p>text</p>")

    site.site.on("/forbidden", maybe, host="127.0.1.2")  # type: ignore[attr-defined]
    (shell.folder / "seeds").write_text("\n".join(f"http://127.0.1.2:{site.site.port}/forbidden{n}" for n in range(20)))
    command = ("crawl", "-f", "seeds", "--job", "j", *LOCAL, "--processes", "1", "-s", "EXPLODING_MIN=5")
    ended = await shell.run(*command, "-s", "CONCURRENT_REQUESTS_PER_DOMAIN=1")
    assert ended.code == 75
    assert "paused: host 127.0.1.2: 5 of 5 failed with http_403, the last one: http://127.0.1.2:" in ended.err
    assert "403 Forbidden; crawler control resume 127.0.1.2 --job j" in " ".join(ended.err.split())
    assert ended.err.count("why='5 of 5") == 1 or ended.err.count('"why":"5 of 5') == 1, "one log line"
    looked = await shell.run("status")
    assert re.search("paused +host 127.0.1.2: 5 of 5 failed with http_403", looked.out)
    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert (job["dead"], job["pending"], job["paused"][0]["name"]) == (5, 15, "127.0.1.2")

    forbidding = False
    assert "resumed in: j" in (await shell.run("control", "resume", "127.0.1.2")).out
    assert "there was no such rule" in (await shell.run("control", "resume", "127.0.1.2")).out
    assert (await shell.run("redrive", "--where", "error=http_403")).out == "5 back to pending (job j)\n"
    assert "pause job:j: in force" in (await shell.run("control", "pause", "job:j", "--why", "a test")).out
    assert (await shell.run("worker", "--until-finished", *LOCAL, "--processes", "1")).code == 75
    assert (await shell.run("control", "resume", "job", "j")).code == 0
    again = await shell.run(*command)
    assert again.code == 0, again.err


async def _json_lines(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await shell.run(*arguments, "--json")).out.splitlines()]


async def test_a_worker_ends_in_order_on_sigterm(shell: Shell) -> None:
    process = await shell.start("worker", "--processes", "1", *LOCAL)
    async with asyncio.timeout(20):
        while not json.loads((await shell.run("status", "--json")).out)["workers"]:
            pass
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [["settings"], ["settings", "--json"], ["crawl", "--help"], ["--version"]])
async def test_a_reader_that_goes_away_is_no_error(bare: Shell, arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = await bare.start(*arguments, stdout=theirs)
    os.close(theirs)
    _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["settings"], ["status", "--json"], ["crawl", "--help"], ["--version"]])
async def test_a_full_disk_under_the_output_is_told(bare: Shell, arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    process = await bare.start(*arguments, stdout=full)
    os.close(full)
    _, err = await process.communicate()
    assert (process.returncode, err) == (73, b"error: cannot write the output: No space left on device\n")


async def test_a_reader_of_the_items_that_goes_away_is_told_with_the_code_of_a_pipe(
    shell: Shell, site: Running
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = await shell.start("crawl", *site.seeds, *LOCAL, "--processes", "1", "-o", "-", stdout=theirs)
    os.close(theirs)
    _, err = await process.communicate()
    assert (process.returncode, b"what was not printed stays in the outbox" in err) == (141, True), err
