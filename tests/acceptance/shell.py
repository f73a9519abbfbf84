"""Runs `crawler` as people and scripts do: real processes, their output, their exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "crawler")
LOCAL = (
    "-s",
    "ALLOWED_NETWORKS=127.0.0.0/8",
    "-s",
    "DOWNLOAD_DELAY=0",
    "-s",
    "RETRY_DELAY=0.05",
    "-s",
    "BACKOFF_SECONDS=0.1",
)


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


class Shell:
    """A working directory, and the environment of the commands that run in it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CRAWLER_", "REDIS_"))},
            "PYTHONPATH": str(ROOT),
            "XDG_DATA_HOME": str(folder / "data"),
            **environment,
        }

    async def start(self, *arguments: str, within: Sequence[str] = (), **options: Any) -> asyncio.subprocess.Process:
        """Start `crawler ARGUMENTS`."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *within,
            *COMMAND,
            *arguments,
            cwd=self.folder,
            **{"env": self.environment, "stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, **options},
        )

    async def run(
        self, *arguments: str, stdin: str | None = None, within: Sequence[str] = (), **environment: str
    ) -> Ended:
        """Run it to its end; `within` is a command that runs another one."""
        options: dict[str, Any] = {"env": {**self.environment, **environment}, "within": within}
        if stdin is not None:
            options["stdin"] = asyncio.subprocess.PIPE
        process = await self.start(*arguments, **options)
        out, err = await process.communicate(None if stdin is None else stdin.encode())
        return Ended(process.returncode or 0, out.decode(), err.decode())


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port on which nobody listens, for as long as the block runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
