"""The commands of `docs/queues.md` do what the page says, in the order in which it shows them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

from tests.acceptance.shell import ROOT, Shell
from tests.ports import free_port
from tests.rabbitmq import RabbitMQ, needs_rabbitmq

PAGE = (ROOT / "docs/queues.md").read_text()


def commands(*sections: str) -> str:
    """All shell blocks of these sections, as one script that ends with the first command that fails."""
    script = "set -e\n"
    for section in sections:
        text = PAGE.partition(f"\n### {section}\n")[2].partition("\n### ")[0]
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert blocks, section
        script += "".join(blocks)
    return script


async def run(shell: Shell, script: str) -> str:
    """Run a script as a person does, with `crawler` on the PATH, and return what it prints. Nothing of it stays."""
    programs = shell.folder / "bin"
    programs.mkdir()
    for name, command in (("crawler", "-P -m crawler"), ("python3", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        (programs / name).chmod(0o755)
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
    port = str(free_port())
    said = await run(bare, commands("A site", "In process", "With Redis", "The end").replace("8000", port))
    pages = [f"http://127.0.0.1:{port}/{number}.html" for number in (1, 2, 3)]
    assert urls(bare.folder / "memory.jsonl") == urls(bare.folder / "redis.jsonl") == pages
    assert re.search(r"new 1, known 0.*new 0, known 1", said, re.DOTALL)
    assert re.search(r"default +3 +0 +0 +3 +0 +0 +0 +finished", said)
    assert "done: fetched and read" in said


@needs_rabbitmq
async def test_urls_come_in_from_rabbitmq_and_items_go_out(bare: Shell) -> None:
    port = str(free_port())
    with RabbitMQ() as broker:
        script = commands("A site", "With RabbitMQ", "The end").replace("8000", port).replace("5672", str(broker.port))
        said = await run(bare, script)
        left = broker.control("list_queues", "name", "messages")
    assert "new 2, known 0, refused 1 (job rabbit)" in said
    assert re.search(r"^urls\t0$", left, re.MULTILINE)
    assert re.search(r"^urls\.rejected\t1$", left, re.MULTILINE)
    assert re.search(r"^items\t0$", left, re.MULTILINE)
    received = sorted(line.split()[1] for line in (bare.folder / "received.txt").read_text().splitlines())
    assert received == [f"http://127.0.0.1:{port}/{number}.html" for number in (1, 2, 3)]
