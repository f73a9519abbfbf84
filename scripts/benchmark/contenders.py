"""The crawlers compared, and the command that starts each on a corpus."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

PEER_PACKAGES = ("scrapy", "scrapy-redis", "crawlee[parsel]", "aiohttp[speedups]", "uvloop", "parsel")

PER_HOST, AT_ONCE = 8, 64
"""Concurrent requests to one host and in total, the same for every crawler that has the setting."""


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

    def command(self, python: Path, seeds: Path, output: Path) -> list[str]:
        """Return the command line that starts it. `python`: the peers' interpreter; `seeds`: a URL a line."""
        words = [word.replace("{seeds}", str(seeds)).replace("{output}", str(output)) for word in self.arguments]
        return [str(python) if self.is_peer else self.own_python, *words]


def ours(name: str, about: str, spider: str, given: Mapping[str, str], *more: str) -> Contender:
    """This crawler with one of the benchmark's spiders; `given`: settings."""
    settings = {
        "DOWNLOAD_DELAY": "0",
        "CONCURRENT_REQUESTS_PER_DOMAIN": str(PER_HOST),
        "CONCURRENT_REQUESTS": str(AT_ONCE),
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
        (*command, "--processes", "1", *options, *more),
        is_peer=False,
        needs_queue=True,
        environment={"PYTHONPATH": str(ROOT)},
    )


def peer(name: str, about: str, script: str, mode: str, **more: object) -> Contender:
    """Another crawler, by a program of ours."""
    arguments = (str(HERE / "peers" / script), mode, "{output}", "{seeds}")
    return Contender(name, about, arguments, **more)  # type: ignore[arg-type]


CONTENDERS = {
    contender.name: contender
    for contender in (
        ours("crawler", "links only; durable queue, robots.txt, ledger, fencing, logs", "links", {}),
        ours("crawler-2", "the same in two processes", "links", {}, "--processes", "2"),
        ours("crawler-titles", "an item a page by selectors, written exactly once", "titles", {}),
        ours(
            "crawler-piped",
            "the same item through one pipeline",
            "titles",
            {},
            *("-s", 'ITEM_PIPELINES={"scripts.benchmark.pipelines.Counted": 100}'),
        ),
        ours("crawler-dropped", "the same callback, its items dropped", "dropped", {}),
        ours("crawler-site", "the `site` spider: an item with the page's text and links", "site", {}),
        peer("bare", "aiohttp + parsel + urllib in one loop, no queue", "bare.py", "links"),
        peer("scrapy", "links only, queue in memory", "scrapy_spider.py", "links"),
        peer("scrapy-titles", "an item a page by selectors", "scrapy_spider.py", "titles"),
        peer("scrapy-redis", "links only, queue in the same server", "scrapy_spider.py", "links", needs_queue=True),
        *(
            peer(
                f"crawlee-{at_once}",
                f"links only, queue in memory, {at_once} at once",
                "crawlee_spider.py",
                "links",
                environment={"CONCURRENCY": str(at_once)},
            )
            for at_once in (8, 16, 64)
        ),
    )
}


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
    if not stamp.exists():
        print(f"installing {', '.join(PEER_PACKAGES)} into {folder} (once)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        quiet = ("-qq", "--no-input", "--disable-pip-version-check")
        subprocess.run([python, "-m", "pip", "install", *quiet, *PEER_PACKAGES], check=True, env=dict(os.environ))
        listed = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
        stamp.write_text(listed.stdout)
    return python
