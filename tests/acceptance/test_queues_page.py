"""The commands of `docs/queues.md` do what the page says, in the order in which it shows them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

from tests.acceptance.shell import ROOT, Shell

PAGE = (ROOT / "docs/queues.md").read_text()


def commands(section: str) -> str:
    """All shell blocks of a section, as one script that ends with the first command that fails."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks, section
    return "set -e\n" + "".join(blocks)


async def run(shell: Shell, script: str) -> str:
    """Run a script as a person does, with `crawler` on the PATH, and return what it prints. Nothing of it stays."""
    programs = shell.folder / "bin"
    programs.mkdir()
    (programs / "crawler").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m crawler "$@"\n')
    (programs / "crawler").chmod(0o755)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=shell.folder,
        env={**shell.environment, "PATH": f"{programs}:{os.environ['PATH']}"},
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
    )
    try:
        out, err = await process.communicate()
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all have ended
    assert process.returncode == 0, err.decode()
    return out.decode()


def urls(path: Path) -> list[str]:
    return sorted(json.loads(line)["url"] for line in path.read_text().splitlines())


async def test_each_queue_system_crawls_the_site(bare: Shell) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    said = await run(bare, commands("Try it").replace("8000", port))
    pages = [f"http://127.0.0.1:{port}/{number}.html" for number in (1, 2, 3)]
    assert urls(bare.folder / "memory.jsonl") == urls(bare.folder / "redis.jsonl") == pages
    assert re.search("new 1, known 0.*new 0, known 1", said, re.DOTALL)
    assert re.search(r"default +3 +0 +0 +3 +0 +0 +0 +finished", said)
    assert "done: fetched and read" in said
