"""Crawl many hosts, in several sizes and by several crawlers in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import msgspec
import trustme

from scripts.benchmark.broad import network
from scripts.benchmark.broad.server import Seen, Settings
from scripts.benchmark.broad.sites import DOMAIN, Sites
from scripts.benchmark.contenders import ROOT, Contender, against, ours, peer, peers_python
from scripts.benchmark.process import cores, cpu_of, pinned, run
from scripts.benchmark.results import save
from scripts.benchmark.rounds import queue_for

AUTHORITY = "authority.pem"


@dataclass(frozen=True)
class Result:
    """The figures of one run. Times are milliseconds a page; rates are pages a second."""

    contender: str
    hosts: int
    pages: int
    cpu_ms: float
    server_ms: float  # of the queue server
    rate: float  # of the whole run, from the start of the command to its end
    middle: float  # between the tenth and the ninetieth of a hundred pages
    ideal: float  # what the hosts' delay and the core permit
    peak_mb: float
    seen: Seen

    @property
    def is_right(self) -> bool:
        """Whether every page was asked for, once, and nothing else."""
        return not (self.seen.missing or self.seen.again or self.seen.surplus)


def contenders(options: Namespace) -> dict[str, Contender]:
    """The crawlers there are, with the same delay, all with one request at a host at once."""
    settings = {
        "DOWNLOAD_DELAY": str(options.delay),
        "CONCURRENT_REQUESTS": str(options.at_once),
        "CONCURRENT_REQUESTS_PER_DOMAIN": "1",
        **({"TLS_CA_FILE": str(options.folder / AUTHORITY)} if options.tls else {}),
    }
    mine = [
        ours("crawler", "links only; durable queue, robots.txt, ledger, fencing, logs", "anywhere", settings),
        ours("crawler-2", "the same in two processes", "anywhere", settings, "--processes", "2"),
        ours("crawler-site", "the `site` spider on all hosts", "site", settings),
    ]
    given = {"DOWNLOAD_DELAY": settings["DOWNLOAD_DELAY"], "CONCURRENT_REQUESTS": settings["CONCURRENT_REQUESTS"]}
    scrapy = peer("scrapy", "its settings for broad crawls", "scrapy_spider.py", "broad", environment=given)
    return {contender.name: contender for contender in (*mine, scrapy)}


def main(options: Namespace) -> int:
    """Run and print. Return 0 if every run covered exactly the pages there are."""
    there_are = contenders(options)
    chosen = [there_are[name] for name in options.only]
    python = peers_python(options.folder / "peers") if any(one.is_peer for one in chosen) else Path(sys.executable)
    network.enter()  # the rest runs where no package could be installed
    if options.against:
        chosen = [version for one in chosen for version in against(one, options.against)]
    results: list[Result] = []
    for _ in range(options.repeat):
        for hosts in options.sizes:
            pages = max(1, options.pages // hosts) if options.pages else options.pages_per_host
            for contender in chosen:
                results.append(
                    _run(contender, Sites(hosts, pages, "https" if options.tls else "http"), python, options)
                )
                print(json.dumps(msgspec.to_builtins(asdict(results[-1]))), file=sys.stderr, flush=True)
                save(options.save, "broad", msgspec.to_builtins(asdict(results[-1])))
    print(table(results))
    return 0 if all(result.is_right for result in results if not result.contender.startswith("scrapy")) else 1


def _run(contender: Contender, sites: Sites, python: Path, options: Namespace) -> Result:
    server_core, crawler_core = cores()
    core = None if contender.name.startswith("crawler-2") else crawler_core
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        queue_for(contender, server_core) as queue,
        _servers(sites, options, server_core) as servers,
    ):
        folder = Path(name)
        seeds = folder / "seeds"
        seeds.write_text("".join(f"{seed}\n" for seed in sites.seeds()))
        environment = {**contender.environment, "XDG_DATA_HOME": name, **({"REDIS_URL": queue.url} if queue else {})}
        before = cpu_of(queue.pid) if queue else 0.0
        command = contender.command(python, seeds, folder / "items.jsonl")
        used = run(command, core=core, folder=folder, environment=environment)
        server_cpu = cpu_of(queue.pid) - before if queue else 0.0
        seen = servers()
        if used.code:
            print((folder / "output").read_text(errors="replace")[-3000:], file=sys.stderr)
    pages = sites.hosts * sites.pages
    return Result(
        contender=contender.name,
        hosts=sites.hosts,
        pages=pages,
        cpu_ms=round(used.cpu / pages * 1000, 4),
        server_ms=round(server_cpu / pages * 1000, 4),
        rate=round(pages / used.wall, 1),
        middle=round(seen.middle, 1),
        ideal=round(min(sites.hosts / options.delay if options.delay else 1e9, pages / used.cpu), 1),
        peak_mb=round(used.peak_bytes / 1e6, 1),
        seen=seen,
    )


@contextmanager
def _servers(sites: Sites, options: Namespace, core: int | None) -> Iterator:
    """Serve the hosts and their names on a core; gives a function that returns what the servers saw."""
    certificate = _certificate(options.folder) if options.tls else ""
    settings = Settings(sites.hosts, sites.pages, options.latency / 1000, options.gzip, certificate)
    words = [
        *pinned(core),
        sys.executable,
        "-m",
        "scripts.benchmark.broad.server",
        msgspec.json.encode(settings).decode(),
    ]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def seen() -> Seen:
            print(file=process.stdin, flush=True)
            return msgspec.json.decode(process.stdout.readline(), type=Seen)

        if process.stdout.readline() != "ready\n":
            raise SystemExit("the web server of the broad crawl did not start")
        try:
            yield seen
        finally:
            process.stdin.close()


def _certificate(folder: Path) -> str:
    """Write a new authority and its certificate for all names. Return the file of the certificate and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / AUTHORITY)
    file = folder / "hosts.pem"
    authority.issue_cert(f"*.{DOMAIN}").private_key_and_cert_chain_pem.write_to_path(file)
    return str(file)


def table(results: Sequence[Result]) -> str:
    """A table of medians. A ratio compares the CPU of a round's run with that of its first one."""
    rows = list(dict.fromkeys((result.contender, result.hosts) for result in results))
    runs = {row: [result for result in results if (result.contender, result.hosts) == row] for row in rows}
    lines = [
        "| contender | hosts | CPU-ms/page | × | spread | queue server | pages/s | ÷ ideal | its middle "
        "| MB | gap, s | coverage |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, hosts), ones in runs.items():
        ratios = [one.cpu_ms / first.cpu_ms for one, first in zip(ones, runs[rows[0]], strict=True)]
        lines.append(
            f"| {name} | {hosts:,} | {median(one.cpu_ms for one in ones):.3f} | {median(ratios):.2f} "
            f"| {min(ratios):.2f}–{max(ratios):.2f} | {median(one.server_ms for one in ones):.3f} "
            f"| {median(one.rate for one in ones):.0f} | {median(one.rate / one.ideal for one in ones):.2f} "
            f"| {median(one.middle / one.ideal for one in ones):.2f} | {max(one.peak_mb for one in ones):.0f} "
            f"| {min(one.seen.gap for one in ones):.3f} | {_coverage(ones)} |"
        )
    return "\n".join(lines)


def _coverage(runs: Sequence[Result]) -> str:
    wrong = next((run.seen for run in runs if not run.is_right), None)
    return f"{wrong.missing} missing, {wrong.surplus} surplus, {wrong.again} twice" if wrong else "exact"
