"""Each example does what its README says: its own command, with a local site in place of the host it names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.webserver import Running, serve
from tests.website import Folder

EXAMPLES = ROOT / "examples"
EXPECTED: dict[str, list[dict[str, Any]]] = {
    "books": [
        {"title": "One", "isbn": "111", "price": 12.5},
        {"title": "Three", "isbn": "444", "price": 1.88},
        {"title": "Two", "isbn": "222", "price": 25.0},
    ],
    "quotes": [
        {"text": "One", "author": "Ann", "tags": ["life"]},
        {"text": "Three", "author": "Cleo", "tags": ["life"]},
        {"text": "Two", "author": "Ben", "tags": ["work"]},
    ],
    "handbook": [
        {"kind": "guide", "title": "Start", "text": "Start\nInstall it."},
        {"kind": "reference", "signature": "run(main)"},
        {"kind": "reference", "signature": "stop()"},
    ],
    "shop": [
        {"missing": "https://shop.example.com/pot/sold.html", "why": "http_404"},
        {"name": "Pan", "price": "20", "listed_in": "Pans"},
        {"name": "Pot 1", "price": "10", "listed_in": "Pots"},
    ],
}


def command_of(example: str) -> tuple[str, list[str]]:
    """The origin that the README's command names, and the command's arguments."""
    block = re.search(r"```sh\n(.*?)\n```", (EXAMPLES / example / "README.md").read_text(), re.DOTALL)
    assert block is not None
    program, *arguments = shlex.split(block[1])
    assert program == "crawler"
    origin = re.match(r"https://[a-z]+\.example\.com", arguments[1])
    assert origin is not None
    return origin[0], arguments


async def run(shell: Shell, example: str, running: Running) -> list[dict[str, Any]]:
    """The items, in the order of their text, with the origin as the README has it."""
    shutil.copytree(EXAMPLES / example, shell.folder, dirs_exist_ok=True)
    origin, arguments = command_of(example)
    local = running.seeds[0].rstrip("/")
    ended = await shell.run(*(argument.replace(origin, local) for argument in arguments), *LOCAL)
    assert ended.code == 0, ended.err
    lines = (shell.folder / arguments[-1]).read_text().replace(local, origin).splitlines()
    items = [{name: value for name, value in json.loads(line).items() if name[0] != "_"} for line in lines]
    return sorted(items, key=json.dumps)


@pytest.mark.parametrize("example", sorted({path.parent.name for path in EXAMPLES.glob("*/README.md")} - {"celery"}))
async def test_an_example_yields_what_its_site_has(shell: Shell, example: str) -> None:
    async with serve(Folder(ROOT / "tests" / "pages" / "examples" / example)) as running:
        assert await run(shell, example, running) == sorted(EXPECTED[example], key=json.dumps)
        if example == "shop":
            assert {hit.headers.get("x-currency") for hit in running.log} == {"EUR"}  # robots.txt included
