"""Worker processes that the command forks at its start: what they share with it, what they do not, how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Running

SETTINGS = """
import os

os.environ["SHOP_KEY"] = "from settings.py"
os.environ.pop("SHOP_DOOR", None)
{more}
"""

SPIDER = """
import atexit, json, logging, logging.handlers, os, random, signal, sys
from crawler import Spider

class Shop(Spider):
    name = "shop"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.note(f"made-{os.getpid()}", {
            "parent": os.getppid(),
            "command": open("/proc/self/cmdline").read().split("\\0"),
            "key": os.environ.get("SHOP_KEY"),
            "door": os.environ.get("SHOP_DOOR"),
            "chance": random.random(),
            "group": os.getpgid(0),
            "input": sys.stdin.read(),
        })
        atexit.register(self.note, f"left-{os.getpid()}", {})
        print("printed by a spider")
        handler = logging.handlers.MemoryHandler(9, 99, logging.FileHandler(f"notes/log-{os.getpid()}"))
        logging.getLogger("shop").addHandler(handler)
        logging.getLogger("shop").warning('"kept until the end"')

    def note(self, name, what):
        with open(f"notes/{name}", "w") as file:
            json.dump(what, file)

    def parse(self, response):
        if os.path.exists("deadly"):
            os.remove("deadly")
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"url": response.url}
"""


def project(folder: Path, more: str = "") -> None:
    """A spider that notes in which processes it is made and which of them end in order."""
    (folder / "spiders").mkdir()
    (folder / "notes").mkdir()
    (folder / "settings.py").write_text(SETTINGS.format(more=more))
    (folder / "spiders" / "shop.py").write_text(SPIDER)


def notes(folder: Path, kind: str) -> dict[int, Any]:
    """What was noted, by process."""
    files = (folder / "notes").glob(f"{kind}-*")
    return {int(file.name.rpartition("-")[2]): json.loads(file.read_text()) for file in files}


def is_forked(note: Any) -> bool:
    """Whether the process was forked from the command instead of being a new Python."""
    return "crawler.app.child" not in note["command"]


async def crawl(shell: Shell, site: Running, *arguments: str, within: Sequence[str] = ()) -> tuple[int, dict[int, Any]]:
    """Crawl the site to its end; returns the command's process and what its workers noted."""
    command = ("crawl", *site.site.truth(), "--spider", "shop", "-O", "items.jsonl", "--fresh", *LOCAL)  # type: ignore[attr-defined]
    environment = {**shell.environment, "SHOP_DOOR": "open"}
    process = await shell.start(*command, *arguments, within=within, env=environment)
    out, err = await process.communicate()
    assert (process.returncode, out) == (0, b""), err.decode()
    items = [json.loads(line)["url"] for line in (shell.folder / "items.jsonl").read_text().splitlines()]
    assert sorted(items) == sorted(site.site.truth())  # type: ignore[attr-defined]
    made = notes(shell.folder, "made")
    return process.pid, {pid: note for pid, note in made.items() if pid != process.pid}


async def test_they_know_what_settings_py_has_changed_and_share_nothing_of_the_users(
    shell: Shell, site: Running
) -> None:
    project(shell.folder)
    command, made = await crawl(shell, site, "--processes", "3")
    assert len(made) == 3
    assert all(map(is_forked, made.values()))
    assert {note["parent"] for note in made.values()} == {command}
    assert {(note["key"], note["door"], note["input"]) for note in made.values()} == {("from settings.py", None, "")}
    assert len({note["chance"] for note in made.values()}) == 3
    assert notes(shell.folder, "left").keys() >= made.keys(), "what the spider registered has run"
    assert {notes(shell.folder, "log")[pid] for pid in made} == {"kept until the end"}


@pytest.mark.parametrize(
    ("processes", "forked"),
    [(1, 1), (5, min(5, os.cpu_count() or 1))],
)
async def test_as_many_work_as_settings_py_says(shell: Shell, site: Running, processes: int, forked: int) -> None:
    project(shell.folder, f"PROCESSES = {processes}")
    _, made = await crawl(shell, site)
    assert len(made) == processes
    assert sum(map(is_forked, made.values())) == forked


async def test_none_is_used_if_settings_py_changed_what_only_a_new_python_takes_over(
    shell: Shell, site: Running
) -> None:
    project(shell.folder, "os.umask(0o077)")
    _, made = await crawl(shell, site, "--processes", "2")
    assert [is_forked(note) for note in made.values()] == [False, False]


IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("within", [("env", "=nameless"), (sys.executable, "-c", IGNORING)], ids=["env", "SIGCHLD"])
async def test_whatever_started_the_command(shell: Shell, site: Running, within: tuple[str, ...]) -> None:
    """With a variable without a name, which Python can read but not write; with SIGCHLD ignored, so that the system
    would not say how a process ended."""
    project(shell.folder)
    _, made = await crawl(shell, site, "--processes", "2", within=within)
    assert [is_forked(note) for note in made.values()] == [True, True]


async def test_how_one_died_is_told_though_sigchld_was_ignored(shell: Shell, site: Running) -> None:
    project(shell.folder)
    (shell.folder / "deadly").touch()
    within = (sys.executable, "-c", IGNORING)
    command = ("crawl", *site.seeds, "--spider", "shop", "-O", "items.jsonl", "--processes", "1", *LOCAL)
    ended = await shell.run(*command, within=within)
    assert ended.code == 0, ended.err
    assert "signal 9 (Killed)" in ended.err


async def test_in_place_of_one_that_died_works_a_new_python(shell: Shell, site: Running) -> None:
    project(shell.folder)
    (shell.folder / "deadly").touch()
    _, made = await crawl(shell, site, "--processes", "1")
    assert sorted(map(is_forked, made.values())) == [False, True]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_those_that_wait_end_with_their_command(shell: Shell, number: signal.Signals) -> None:
    """It waits for its first seed."""
    process = await shell.start(
        "crawl", "-f", "-", "--job", "piped", "--processes", "3", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    async with asyncio.timeout(20):
        while len(forked := children.read_text().split()) < 3:  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.02)
        process.send_signal(number)
        await process.communicate()
        while any(Path(f"/proc/{pid}").exists() for pid in forked):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.02)
    assert process.returncode != 0


async def test_a_crawl_in_the_commands_own_process_leaves_none_waiting(shell: Shell, site: Running) -> None:
    """That it needs no workers stands in settings.py, which it reads after the fork."""
    project(shell.folder, "REDIS_URL = 'memory://'")
    del shell.environment["REDIS_URL"]
    command = ("crawl", *site.site.truth(), "--spider", "shop", "-O", "items.jsonl", *LOCAL)  # type: ignore[attr-defined]
    process = await shell.start(*command, "-s", "DOWNLOAD_DELAY=0.2")
    await site.until(10)
    assert Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() == ""
    process.send_signal(signal.SIGTERM)
    await process.communicate()
