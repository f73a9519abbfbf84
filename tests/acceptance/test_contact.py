"""Who seeds the public web under a name without a contact is warned; nothing is asked of anybody here."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "warnings"),
    [
        (["http://example.com/", "http://example.org/"], 1),
        (["http://127.0.0.1/", "http://localhost/", "-s", "ALLOWED_NETWORKS=127.0.0.0/8"], 0),
        (["http://example.com/", "-s", "USER_AGENT=ourbot/1.0 (+https://example.com/bot)"], 0),
        (["http://example.com/", "-s", "USER_AGENT=ourbot/1.0 (me@example.com)"], 0),
    ],
)
async def test_one_line_says_what_to_set(
    tmp_path: Path, valkey_server: Valkey, arguments: list[str], warnings: int
) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crawler", "seed", *arguments),
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
            "REDIS_URL": valkey_server.url,
            "CRAWLER_KEY_PREFIX": tmp_path.name,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    lines = [json.loads(line) for line in err.decode().splitlines() if "no_contact" in line]
    assert len(lines) == warnings, err.decode()
    for line in lines:
        assert (line["level"], line["host"], line["user_agent"]) == ("warning", "example.com", "crawler/0.1.0")
        assert '-s USER_AGENT="name/1.0 (+https://you.example/bot)"' in line["help"]
