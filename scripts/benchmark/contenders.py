"""The crawlers compared, and the command that starts each on a corpus."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

PEER_PACKAGES = (
    "scrapy",
    "scrapy-redis",
    "crawlee[parsel]",
    "aiohttp[speedups]",
    "uvloop",
    "parsel",
    "selectolax",
    "redis[hiredis]",
)

PER_HOST, AT_ONCE = 8, 64
"""Concurrent requests to one host and in total, the same for every crawler that has the setting."""

LOW_LIMIT = 1_024
"""Open files that many systems allow a process by default."""


@dataclass(frozen=True)
class Contender:
    """One crawler in one configuration. `arguments` follow its interpreter; {seeds} and {output} are placeholders."""

    name: str
    about: str
    arguments: tuple[str, ...]
    is_peer: bool = True  # runs in the environment of the peers
    needs_queue: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    own_python: str = sys.executable
    processes: int = 1  # more than one run on all cores
    open_files: int = 0  # it may open; 0: as many as the benchmark

    def command(self, python: Path, seeds: Path, output: Path) -> list[str]:
        """Return the command line that starts it. `python`: the peers' interpreter; `seeds`: a URL a line."""
        words = [word.replace("{seeds}", str(seeds)).replace("{output}", str(output)) for word in self.arguments]
        limit = ["prlimit", f"--nofile={self.open_files}:{self.open_files}"] if self.open_files else []
        return [*limit, str(python) if self.is_peer else self.own_python, *words]


def ours(name: str, about: str, spider: str, given: Mapping[str, str], **more: Any) -> Contender:
    """This crawler with one of the benchmark's spiders; `given`: settings. `more`: as in `Contender`."""
    settings = {
        "DOWNLOAD_DELAY": "0",
        "ALLOWED_NETWORKS": "127.0.0.0/8",
        "SPIDER_MODULES": str(HERE / "spiders"),
        "USER_AGENT": "bench/1.0 (+http://127.0.2.1/)",
        "LOG_RENDERER": "json",
        **given,
    }
    options = [word for setting, value in settings.items() for word in ("-s", f"{setting}={value}")]
    command = ("-P", "-m", "crawler", "crawl", "-f", "{seeds}", "--spider", spider, "-O", "{output}", "--fresh")
    return Contender(
        name,
        about,
        (*command, "--processes", str(more.get("processes", 1)), *options),
        is_peer=False,
        needs_queue=True,
        environment={"PYTHONPATH": str(ROOT)},
        **more,
    )


def peer(name: str, about: str, script: str, mode: str, **more: Any) -> Contender:
    """Another crawler, by a program of ours."""
    arguments = (str(HERE / "peers" / script), mode, "{output}", "{seeds}")
    return Contender(name, about, arguments, **more)


def contenders(at_once: int = AT_ONCE, per_host: int = PER_HOST, authority: Path | None = None) -> dict[str, Contender]:
    """All there are, with these limits. `authority`: PEM file of what to trust, for sites over TLS."""
    trusted = {"TLS_CA_FILE": str(authority)} if authority else {}
    settings = {"CONCURRENT_REQUESTS_PER_DOMAIN": str(per_host), "CONCURRENT_REQUESTS": str(at_once), **trusted}
    piped = {**settings, "ITEM_PIPELINES": '{"scripts.benchmark.pipelines.Counted": 100}'}
    limits = {"PER_HOST": str(per_host), "AT_ONCE": str(at_once), **trusted}
    all_there_are = (
        ours("crawler", "links only; durable queue, robots.txt, ledger, fencing, logs", "links", settings),
        ours("crawler-2", "the same in two processes", "links", settings, processes=2),
        ours("crawler-4", "the same in four processes", "links", settings, processes=4),
        ours("crawler-titles", "an item a page by selectors, written exactly once", "titles", settings),
        ours("crawler-piped", "the same item through one pipeline", "titles", piped),
        ours("crawler-dropped", "the same callback, its items dropped", "dropped", settings),
        ours("crawler-site", "the `site` spider: an item with the page's text and links", "site", settings),
        *(
            peer(name, about, script, mode, needs_queue=has_queue, environment=limits)
            for name, about, script, mode, has_queue in _PEERS
        ),
        *(
            peer(
                f"crawlee-{number}",
                f"links only, queue in memory, {number} at once",
                "crawlee_spider.py",
                "links",
                environment={"CONCURRENCY": str(number)},
            )
            for number in (8, 16, 64)
        ),
    )
    return {contender.name: contender for contender in all_there_are}


_PEERS = (
    ("bare", "aiohttp + parsel + urllib in one loop, no queue", "bare.py", "links", False),
    ("aiohttp", "aiohttp + selectolax in one loop, no queue", "aiohttp_loop.py", "links", False),
    ("aiohttp-queue", "the same, queue in the same server, in batches", "aiohttp_loop.py", "links", True),
    ("lean", "aiohttp + one expression for links, no queue", "aiohttp_loop.py", "lean", False),
    ("scrapy", "links only, queue in memory", "scrapy_spider.py", "links", False),
    ("scrapy-titles", "an item a page by selectors", "scrapy_spider.py", "titles", False),
    ("scrapy-site", "the `site` spider's item", "scrapy_spider.py", "site", False),
    ("scrapy-redis", "links only, queue in the same server", "scrapy_spider.py", "links", True),
)

NAMES = tuple(contenders())


def against(contender: Contender, checkout: Path) -> list[Contender]:
    """The contender, and after it the same of another checkout of this project; a peer only once."""
    if contender.is_peer:
        return [contender]
    python = checkout.resolve() / ".venv" / "bin" / "python"
    other = replace(
        contender,
        name=f"{contender.name} of {checkout.name}",
        environment={**contender.environment, "PYTHONPATH": str(checkout.resolve())},
        own_python=str(python) if python.exists() else contender.own_python,
    )
    return [contender, other]


def peers_python(folder: Path) -> Path:
    """Return the interpreter of the peers' environment; create the environment if it does not exist."""
    python = folder / "bin" / "python"
    stamp = folder / "complete"
    wanted = " ".join(PEER_PACKAGES)
    if not stamp.exists() or wanted not in stamp.read_text():
        print(f"installing {', '.join(PEER_PACKAGES)} into {folder} (once)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        quiet = ("-qq", "--no-input", "--disable-pip-version-check")
        subprocess.run([python, "-m", "pip", "install", *quiet, *PEER_PACKAGES], check=True, env=dict(os.environ))
        listed = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
        stamp.write_text(f"{wanted}\n{listed.stdout}")
    return python
