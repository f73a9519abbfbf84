"""Crawl many hosts, in several sizes and by several crawlers in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import msgspec

from scripts.benchmark.broad import network
from scripts.benchmark.broad.server import Seen, Settings
from scripts.benchmark.broad.sites import DOMAIN, Sites
from scripts.benchmark.certificates import Certificate, issue
from scripts.benchmark.contenders import LOW_LIMIT, ROOT, Contender, against, ours, peer, peers_python
from scripts.benchmark.process import cores, cpu_of, pinned, run
from scripts.benchmark.results import save
from scripts.benchmark.rounds import queue_for


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
    is_cut: bool  # the crawl was to end before its last page
    seen: Seen

    @property
    def is_right(self) -> bool:
        """Whether every page was asked for, once, and nothing else."""
        return not (self.seen.again or self.seen.surplus or (self.seen.missing and not self.is_cut))


def contenders(options: Namespace, certificate: Certificate | None) -> dict[str, Contender]:
    """The crawlers there are, with the same delay, all with one request at a host at once."""
    delay, at_once = str(options.delay), str(options.at_once)
    settings = {
        "DOWNLOAD_DELAY": delay,
        "CONCURRENT_REQUESTS": at_once,
        "CONCURRENT_REQUESTS_PER_DOMAIN": "1",
        **({"TLS_CA_FILE": str(certificate.authority)} if certificate else {}),
    }
    limits = {"DELAY": delay, "AT_ONCE": at_once, "PER_HOST": "1"}
    there_are = (
        ours("crawler", "links only; durable queue, robots.txt, ledger, fencing, logs", "anywhere", settings),
        ours("crawler-2", "the same in two processes", "anywhere", settings, processes=2),
        ours(f"crawler-{LOW_LIMIT}", "the same with few open files", "anywhere", settings, open_files=LOW_LIMIT),
        ours("crawler-site", "the `site` spider", "site", settings),
        peer("scrapy", "its settings for broad crawls", "scrapy_spider.py", "broad", environment=limits),
    )
    return {contender.name: contender for contender in there_are}


def main(options: Namespace) -> int:
    """Run and print. Return 0 if every run covered exactly the pages there are."""
    certificate = issue(options.folder / "broad", [f"*.{DOMAIN}"]) if options.tls else None
    there_are = contenders(options, certificate)
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
                sites = Sites(hosts, pages, "https" if options.tls else "http")
                with _servers(sites, options, certificate) as servers:
                    results.append(_run(contender, sites, servers, python, options))
                print(json.dumps(msgspec.to_builtins(asdict(results[-1]))), file=sys.stderr, flush=True)
                save(options.save, "broad", msgspec.to_builtins(asdict(results[-1])))
    print(table(results))
    return 0 if all(result.is_right for result in results if not result.contender.startswith("scrapy")) else 1


def _run(contender: Contender, sites: Sites, servers: Callable[[], Seen], python: Path, options: Namespace) -> Result:
    server_core, crawler_core = cores()
    core = crawler_core if contender.processes == 1 else None
    with tempfile.TemporaryDirectory(prefix="bench-") as name, queue_for(contender, server_core) as queue:
        folder = Path(name)
        seeds = folder / "seeds"
        seeds.write_text("".join(f"{seed}\n" for seed in sites.seeds()))
        environment = {**contender.environment, "XDG_DATA_HOME": name, **({"REDIS_URL": queue.url} if queue else {})}
        before = cpu_of(queue.pid) if queue else 0.0
        command = contender.command(python, seeds, folder / "items.jsonl")
        command += ["--limit", str(options.limit)] if options.limit and not contender.is_peer else []
        used = run(command, core=core, folder=folder, environment=environment)
        server_cpu = cpu_of(queue.pid) - before if queue else 0.0
        seen = servers()
        if used.code:
            print((folder / "output").read_text(errors="replace")[-3000:], file=sys.stderr)
    pages = sites.hosts * sites.pages - seen.missing
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
        is_cut=bool(options.limit),
        seen=seen,
    )


@contextmanager
def _servers(sites: Sites, options: Namespace, certificate: Certificate | None) -> Iterator[Callable[[], Seen]]:
    """Serve the hosts and their names on the servers' core; gives a function that returns what the servers saw."""
    core, _ = cores()
    own = str(certificate.own) if certificate else ""
    settings = Settings(sites.hosts, sites.pages, options.latency / 1000, options.gzip, own)
    words = [
        *pinned(core),
        sys.executable,
        "-m",
        "scripts.benchmark.broad.server",
        msgspec.json.encode(settings).decode(),
    ]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asks, answers = process.stdin, process.stdout
        assert asks is not None  # noqa: S101 - for the type checker
        assert answers is not None  # noqa: S101

        def seen() -> Seen:
            print(file=asks, flush=True)
            return msgspec.json.decode(answers.readline(), type=Seen)

        if answers.readline() != "ready\n":
            raise SystemExit("the web server of the broad crawl did not start")
        try:
            yield seen
        finally:
            asks.close()


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
    if runs[0].is_cut and not wrong:
        return "none twice"
    return f"{wrong.missing} missing, {wrong.surplus} surplus, {wrong.again} twice" if wrong else "exact"
