"""The commands of `examples/celery/README.md` serve a web application that orders crawls."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.ports import free_port
from tests.valkey import Valkey
from tests.webserver import serve
from tests.website import Folder

EXAMPLE = ROOT / "examples" / "celery"
PROGRAMS = {"crawler": "-m crawler", "celery": "-m celery", "uvicorn": "-m uvicorn"}


def commands(server: Valkey, port: int) -> str:
    """The README's first block, with the server and the port of the test, and a wait for what it starts."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    here = str(blocks[0]).replace("127.0.0.1:6379", f"127.0.0.1:{server.port}").replace("8080", str(port))
    return f"{here}wait\n"


def programs(folder: Path) -> str:
    """A folder with the programs that the commands name."""
    folder.mkdir()
    for name, arguments in PROGRAMS.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (folder / name).chmod(0o755)
    return str(folder)


class Web:
    """The web application, as a browser sees it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str) -> Any:
        """Return its answer. It may not have started yet."""
        while True:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request(method, path)
                return json.load(connection.getresponse())
            except ConnectionRefusedError:
                time.sleep(0.05)
            finally:
                connection.close()

    def until_ended(self, id: str) -> Any:
        """Ask until the task has its result."""
        while (said := self.ask("GET", f"/crawls/{id}"))["state"] not in ("SUCCESS", "FAILURE", "REVOKED"):
            time.sleep(0.1)
        return said

    def play(self, seed: str) -> list[Any]:
        """Order a crawl, a page and a crawl of no URL, and return the first id, what became of the three, and of one
        that nobody ordered."""
        ids = [
            self.ask("POST", f"/{what}")["id"] for what in (f"crawls?url={seed}", f"pages?url={seed}", "crawls?url=x")
        ]
        return [ids[0], *map(self.until_ended, ids), self.ask("GET", "/crawls/nobody")]


async def test_a_web_application_orders_crawls(folder: Path) -> None:
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    port = free_port()
    local = {f"CRAWLER_{name}": value for name, _, value in (word.partition("=") for word in LOCAL[1::2])}
    paths = f"{programs(folder / 'bin')}:{os.environ['PATH']}"
    with Valkey(tcp=True, appendonly=True) as server:
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", commands(server, port)),
                cwd=folder,
                env=Shell(folder, {"PATH": paths, **local}).environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with serve(Folder(ROOT / "tests" / "pages" / "examples" / "quotes")) as site, asyncio.timeout(60):
                crawl, crawled, indexed, failed, nobody = await asyncio.to_thread(Web(port).play, site.seeds[0])
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert (crawled["state"], indexed["state"]) == ("SUCCESS", "SUCCESS"), (folder / "log").read_text()
    assert crawled["info"]["items"] == len((folder / f"{crawl}.jsonl").read_text().splitlines())
    assert indexed["info"] == len((folder / "index.jsonl").read_text().splitlines())
    assert failed == {"state": "FAILURE", "info": "no seed may be asked for: x: no scheme; write https://x/"}
    assert nobody == {"state": "UNKNOWN", "info": None}
