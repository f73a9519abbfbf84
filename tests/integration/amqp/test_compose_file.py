"""`docker-compose.rabbitmq.yml` sets up what both doors need, and its commands use just that."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.valkey import Valkey

ROOT = Path(__file__).parents[3]
FILE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.rabbitmq.yml")
PASSWORD = "geheim"


@pytest.fixture
def broker(tmp_path: Path) -> RabbitMQ:
    """A broker with the definitions of the file."""
    broker = RabbitMQ()
    definitions = FILE["configs"]["definitions"]["content"].replace("${CRAWLER_RABBITMQ_PASSWORD}", PASSWORD)
    assert "$" not in definitions
    (tmp_path / "definitions.json").write_text(definitions)
    settings = FILE["configs"]["rabbitmq"]["content"].replace("/etc/rabbitmq/", f"{tmp_path}/")
    with (broker.folder / "rabbitmq.conf").open("a") as file:
        file.write(settings)
    return broker


async def run(command: list[str], broker: RabbitMQ, server: Valkey, folder: Path) -> str:
    """Run a command of the file without `--follow`, against this broker."""
    words = [word.replace("@rabbitmq/", f"@127.0.0.1:{broker.port}/") for word in command if word != "--follow"]
    environment = {"PYTHONPATH": str(ROOT), "REDIS_URL": server.url, "CRAWLER_RABBITMQ_PASSWORD": PASSWORD}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crawler", *words),
        cwd=folder,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return (out + err).decode()


@needs_rabbitmq
async def test_its_commands_find_their_queues_and_their_user(broker: RabbitMQ, tmp_path: Path) -> None:
    services = FILE["services"]
    with broker, Valkey(appendonly=True) as server:
        seeded = await run(services["urls"]["command"], broker, server, tmp_path)
        exported = await run(services["exporter"]["command"], broker, server, tmp_path)
    assert "new 0, known 0, refused 0" in seeded
    assert "0 items" in exported


def test_the_password_is_in_no_argument() -> None:
    for service in FILE["services"].values():
        assert not re.search(r"PASSWORD", shlex.join(service.get("command", [])))
