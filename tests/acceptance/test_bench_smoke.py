"""The benchmark's short form: nothing about time, only that a crawl fetches exactly the pages there are."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmark.__main__ import options_of
from scripts.benchmark.broad import network
from scripts.benchmark.real import rows
from tests.rabbitmq import needs_rabbitmq

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    not shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"), reason="no nginx: run scripts/test-services"
)
def test_a_small_crawl_covers_the_site() -> None:
    """300 pages on 4 hosts, judged by nginx's log; in the folder that the benchmark uses of its own accord."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    run = subprocess.run(
        [ROOT / "scripts" / "bench", "crawl", "--smoke", "--port", port],
        env={**os.environ, "CRAWLER_VENV": sys.prefix},  # the script's own, if that is where we run
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"\| crawler \|.*\| exact \|", run.stdout), run.stdout


@pytest.mark.skipif(not network.is_possible(), reason="this system lets nobody make a network (unshare)")
@pytest.mark.parametrize("more", [(), ("--tls", "--gzip", "--latency", "2")], ids=["plain", "tls"])
def test_a_broad_crawl_covers_all_hosts(more: tuple[str, ...]) -> None:
    """Names found by a name server of ours, each host asked at its delay."""
    size = ("--hosts", "40", "--pages-per-host", "3", "--delay", "0.1")
    run = subprocess.run(
        [ROOT / "scripts" / "bench", "broad", *size, *more],
        env={**os.environ, "CRAWLER_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert (row := re.search(r"\| crawler \| 40 \|.*\| (\S+) \| exact \|", run.stdout)), run.stdout
    assert float(row[1]) > 0.09  # the smallest gap at a host, as the host saw it


def test_each_condition_of_real_crawls_has_a_command_that_exists() -> None:
    """Its words parse, in a quick run too."""
    for row in rows([Path("docs")]):
        assert options_of(row.command.split()).command
        assert options_of([*row.command.split(), *row.quick.split()]).command


def test_the_rows_take_ratios_within_a_round() -> None:
    """Two rounds, of which the second was slow for both contenders: coverage exact, and the ratio the same."""
    sides = {"crawler": 1.0, "crawler-2": 1.1, "crawler-4": 1.3}
    runs = [
        {"contender": name, "cpu_ms": slowness * cost, "missing": 0, "surplus": 0}
        for slowness in (1, 3)
        for name, cost in sides.items()
    ]
    row = next(row for row in rows([]) if row.name.startswith("two processes"))
    figures = [figure(runs) for figure in row.figures]
    assert figures == ["1.10 × (1.10–1.10)", "1.30 × (1.30–1.30)", "coverage exact"]


@needs_rabbitmq
def test_what_goes_into_a_queue_of_rabbitmq_comes_out() -> None:
    """The measurement ends only once each message has been confirmed, consumed and acknowledged."""
    run = subprocess.run(
        [ROOT / "scripts" / "bench", "amqp", "--messages", "1500", "--repeat", "1"],
        env={**os.environ, "CRAWLER_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^\| (\w+) .*client \d+ µs, broker \d+ µs", run.stdout, re.MULTILINE)
    assert rows == ["publish", "consume", "seed", "export"]
