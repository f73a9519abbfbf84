"""A crawl whose machine has too little of something is slower, and loses no page by it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.chaos.limits import own_file
from tests.integration.fetch.server import ok, says, serving_all

HOSTS = [f"127.9.{n // 200}.{n % 200 + 1}" for n in range(400)]


@pytest.mark.parametrize("limit", [256, 80])
async def test_many_hosts_with_few_file_descriptors(shell: Shell, limit: int) -> None:
    async with serving_all(says(ok(b"<title>x</title>", "Content-Type: text/html")), HOSTS) as port:
        (shell.folder / "seeds").write_text("".join(f"http://{host}:{port}/\n" for host in HOSTS))
        ended = await shell.run(
            *("crawl", "-f", "seeds", "-O", "items.jsonl", "--json", "--processes", "1", *LOCAL),
            within=("prlimit", f"--nofile={limit}:{limit}"),
        )
    stats = json.loads(ended.out)
    assert (ended.code, stats["pages"], stats["queue/dead"], stats["own_limit/count"]) == (0, len(HOSTS), 0, 0), (
        ended.err
    )
    assert ("fewer_requests_at_once" in ended.err) == (limit < 200)


class Dns(asyncio.DatagramProtocol):
    """Answers for all names alike: 127.9.0.1, and no IPv6."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\0", 12) + 5
        is_ipv4 = data[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([127, 9, 0, 1]) if is_ipv4 else b""
        self._transport.sendto(data[:2] + b"\x81\x80\0\1\0%c\0\0\0\0" % is_ipv4 + data[12:end] + answer, addr)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another /etc/resolv.conf, and port 53")
async def test_a_dns_server_that_is_away_is_no_fault_of_the_hosts(shell: Shell) -> None:
    (shell.folder / "resolv.conf").write_text("nameserver 127.9.9.9\n")
    async with serving_all(says(ok(b"<title>x</title>", "Content-Type: text/html")), HOSTS[:1]) as port:
        process = await shell.start(
            *("crawl", *(f"http://h{n}.example:{port}/" for n in range(20)), "-O", "items.jsonl", "--json"),
            *("--processes", "1", *LOCAL, "-s", "HOST_PATIENCE=0", "-s", "RETRY_TIMES=0"),
            within=own_file(shell.folder / "resolv.conf", "/etc/resolv.conf"),
        )
        assert process.stdout
        assert process.stderr
        said = await process.stderr.readuntil(b'"own_limit"')
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Dns, ("127.9.9.9", 53))
        out, err = await process.communicate()
        transport.close()
    stats, log = json.loads(out), (said + err).decode()
    assert (process.returncode, stats["pages"], stats["queue/dead"]) == (0, 20, 0), log
    assert stats["own_limit/count"] >= 20
    assert log.count('"own_limit"') == 1
    assert "see /etc/resolv.conf" in log


SPIDER = """
from pathlib import Path
from crawler import Spider

class Keeper(Spider):
    name = "keeper"

    def parse(self, response):
        full = Path(__file__).parent / "full"
        if full.exists():
            full.unlink()  # somebody makes room, once it has been met
            raise OSError(28, "No space left on device")
        yield {"url": response.url}
"""


async def test_a_full_disk_is_no_fault_of_the_page(shell: Shell) -> None:
    spiders = Path(shell.folder / "spiders")
    spiders.mkdir()
    (spiders / "keeper.py").write_text(SPIDER)
    (spiders / "full").touch()
    async with serving_all(says(ok(b"<title>x</title>", "Content-Type: text/html")), HOSTS[:1]) as port:
        url = f"http://{HOSTS[0]}:{port}/"
        ended = await shell.run(
            *("crawl", url, "--spider", "keeper", "-O", "items.jsonl", "--json", "--processes", "1", *LOCAL),
            *("-s", "RETRY_TIMES=0"),
        )
    stats = json.loads(ended.out)
    assert (ended.code, stats["pages"], stats["queue/dead"], stats["own_limit/count"]) == (0, 1, 0, 1), ended.err
    (line,) = [json.loads(line) for line in ended.err.splitlines() if '"own_limit"' in line]
    assert line["why"] == "a disk of this machine is full"
    assert "put back  1 page, by limits of the workers' machines" in ended.err
