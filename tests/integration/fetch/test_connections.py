"""Connections used again: no surplus byte becomes an answer, no request goes out twice."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from crawler.errors import FetchError, OwnLimit
from crawler.model import Request
from tests.integration.fetch.server import Server, cut, fetching, ok, says, serving, serving_all

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("surplus", [ok(b"evil"), b"evil", b"\r\n", b"HTTP/1.1 200 OK\r\n"], ids=repr)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
async def test_surplus_bytes_never_become_the_next_answer(surplus: bytes, late: bool) -> None:
    sent = asyncio.Event()

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await server.hear(reader)).split()[1]
            answer = ok(path.encode())
            if late:
                writer.write(answer)
                await asyncio.sleep(0.05)  # long enough for the answer to be read and the connection to rest
                writer.write(surplus)
            else:
                writer.write(answer + surplus)
            await writer.drain()
            sent.set()

    async with serving(talk) as server, fetching() as fetcher:
        for n in range(4):
            sent.clear()
            try:
                assert (await fetcher.fetch(Request(f"{server.origin}/{n}"))).body == b"/%d" % n
            except FetchError as error:
                assert error.kind == "malformed"  # noqa: PT017
            await sent.wait()


async def test_surplus_that_still_lies_in_the_kernel_is_noticed() -> None:
    """The event loop has had no turn to read it when the next request is about to be sent."""
    loop = asyncio.get_running_loop()
    peers: list[socket.socket] = []

    async def answer_each_connection_once(listener: socket.socket) -> None:
        for body in (b"first", b"second"):
            peer, _ = await loop.sock_accept(listener)
            peers.append(stack.enter_context(peer))
            await loop.sock_recv(peer, 65536)
            await loop.sock_sendall(peer, ok(body))

    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with asyncio.TaskGroup() as tasks, fetching() as fetcher:
            tasks.create_task(answer_each_connection_once(listener))
            assert (await fetcher.fetch(Request(url))).body == b"first"
            peers[0].send(ok(b"evil"))
            assert (await fetcher.fetch(Request(url))).body == b"second"


async def test_a_connection_dropped_while_idle_is_replaced_before_asking() -> None:
    dropped = asyncio.Event()

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(ok(b"fine"))
        await writer.drain()
        writer.close()
        dropped.set()

    async with serving(talk) as server, fetching() as fetcher:
        for _ in range(5):
            dropped.clear()
            assert (await fetcher.fetch(Request(f"{server.origin}/"))).body == b"fine"
            await dropped.wait()
    assert len(server.heads) == 5


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "ending", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
)
async def test_a_request_that_an_open_connection_did_not_take_is_made_on_a_new_one(ending: bytes, method: str) -> None:
    """The host closed its end just as we asked (RFC 9112 §9.3.1): that is nobody's failure."""

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(ok(b"" if method == "HEAD" else b"fine", length=4))
        await server.hear(reader)
        writer.write(ending)

    async with serving(talk) as server, fetching() as fetcher:
        for path in ("1", "2", "3"):
            response = await fetcher.fetch(Request(f"{server.origin}/{path}", method=method))
            assert (response.status, response.headers["content-length"]) == (200, "4")
    assert [head.split()[1] for head in server.heads] == ["/1", "/2", "/2", "/3", "/3"]
    assert server.connections == 3


async def test_no_open_connection_is_tried_twice() -> None:
    """When a host closes all its idle connections at once."""
    arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        arrived.release()
        await go_on.wait()
        writer.write(ok(b"fine"))
        await server.hear(reader)  # and closes

    async with serving(talk) as server, fetching() as fetcher:
        first = [asyncio.create_task(fetcher.fetch(Request(f"{server.origin}/{n}"))) for n in range(5)]
        for _ in first:
            await arrived.acquire()
        go_on.set()
        await asyncio.gather(*first)
        assert (await fetcher.fetch(Request(f"{server.origin}/last"))).body == b"fine"
    assert len(server.heads) == 7


async def test_only_what_may_be_repeated_is_repeated() -> None:
    async with serving(says(ok(b"fine"), b"")) as server, fetching() as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/1"))
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"{server.origin}/2", method="POST", body=b"x"))
    assert (caught.value.kind, caught.value.transient) == ("reset", True)
    assert len(server.heads) == 2


async def test_a_new_connection_that_ends_is_a_failure_at_once() -> None:
    """aiohttp itself would ask again."""
    async with serving(says(b"")) as server, fetching() as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"{server.origin}/"))
    assert (caught.value.kind, caught.value.transient) == ("reset", True)
    assert len(server.heads) == 1


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_cancelled_fetch_closes_its_connection(start: bytes) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(start)
        await writer.drain()
        asked.set()
        await reader.read()
        gone.set()

    async with serving(talk) as server, fetching() as fetcher:
        task = asyncio.create_task(fetcher.fetch(Request(f"{server.origin}/")))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ("a0 b0 c0 d0 e0 f0 g0", "c d e a"),  # no host is known to be done: three that were used last, one longest idle
        ("a0 b0 c0 a1 d2.5 e2.5 f2.5", "b c e"),  # one was used again after 1 s, so those idle for 2.5 s are done
        ("a0 b0 c0 a1 d1.5 e1.5", "a d"),
    ],
)
async def test_room_is_made_first_by_connections_whose_host_is_done(
    visits: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit: the name of a host, and the seconds at which it is asked."""
    hosts = [f"127.0.3.{n}" for n in range(1, 8)]
    closed: list[str] = []
    all_closed = asyncio.Event()

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await says(ok())(server, reader, writer)
        finally:
            closed.append("abcdefg"[int(server.origin.split(":")[1][-1]) - 1])
            if len(closed) == len(expected.split()):
                all_closed.set()

    async with serving_all(talk, hosts) as port, fetching(connections=3) as fetcher:
        for visit in visits.split():
            monkeypatch.setattr("crawler.fetch.connect.monotonic", lambda now=float(visit[1:]): 1000.0 + now)
            await fetcher.fetch(Request(f"http://{hosts['abcdefg'.index(visit[0])]}:{port}/"))
        await asyncio.wait_for(all_closed.wait(), 2)
        assert closed == expected.split()
        await asyncio.gather(*(fetcher.fetch(Request(f"http://{host}:{port}/")) for host in hosts))  # never waits


@pytest.mark.parametrize("who_closes", ["we", "the host"])
async def test_nothing_is_left_of_a_connection_that_was_closed(who_closes: str) -> None:
    """aiohttp would keep it for a minute, 4 kB each."""
    hosts = [f"127.0.3.{n}" for n in range(1, 8)]
    most = 3 if who_closes == "we" else 100
    gone = asyncio.Event()

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if who_closes == "we":
            await says(ok())(server, reader, writer)
        else:
            await server.hear(reader)
            writer.write(ok())
            await gone.wait()

    async with serving_all(talk, hosts) as port, fetching(connections=most) as fetcher:
        for host in hosts:
            await fetcher.fetch(Request(f"http://{host}:{port}/"))
        kept = fetcher._pool._conns
        assert sum(map(len, kept.values())) == min(most, len(hosts))
        gone.set()
        async with asyncio.timeout(2):
            while who_closes == "the host" and kept:  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.01)


async def test_a_host_that_is_asked_each_minute_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(says(ok())) as server, fetching() as fetcher:
        for later, connections in ((0, 1), (59, 1), (59 + 61, 2)):
            monkeypatch.setattr("aiohttp.connector.monotonic", lambda later=later: time.monotonic() + later)
            await fetcher.fetch(Request(f"{server.origin}/"))
            assert server.connections == connections


async def test_connections_that_a_host_closed_count_no_more() -> None:
    async def once(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hear(reader)
        writer.write(ok())

    hosts = [f"127.0.3.{n}" for n in range(1, 9)]
    async with serving_all(once, hosts) as port, serving(says(ok())) as server, fetching(connections=3) as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/"))
        for host in hosts:
            await fetcher.fetch(Request(f"http://{host}:{port}/"))
        await fetcher.fetch(Request(f"{server.origin}/"))
        assert server.connections == 1


async def test_no_file_descriptor_left_is_no_fault_of_the_host() -> None:
    async with serving(says(ok())) as server, serving(says(ok())) as other, fetching() as fetcher:
        await fetcher.fetch(Request(f"{other.origin}/"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(OwnLimit, match="RLIMIT_NOFILE"):
                await fetcher.fetch(Request(f"{server.origin}/"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await fetcher.fetch(Request(f"{server.origin}/"))).body == b"hello"
        await fetcher.fetch(Request(f"{other.origin}/"))
        assert other.connections == 2, "the idle one was closed to make room"


NO_PORT = """
import asyncio, fcntl, socket, struct
from pathlib import Path
from crawler.errors import OwnLimit
from crawler.model import Request
from tests.integration.fetch.server import fetching, ok, says, serving

async def main():
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40001")
    async with serving(says(ok()), port=8000) as server, fetching() as fetcher:
        holding = [await asyncio.open_connection("127.0.0.1", 8000) for _ in range(2)]
        try:
            await fetcher.fetch(Request(f"{server.origin}/"))
        except OwnLimit as limit:
            print(limit)
        for _, writer in holding:
            writer.close()

asyncio.run(main())
"""


def test_no_local_port_left_is_no_fault_of_the_host() -> None:
    alone = ("unshare", "--map-root-user", "--net")  # a network of its own
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs `unshare --net`, which this machine does not allow")
    ran = subprocess.run([*alone, sys.executable, "-c", NO_PORT], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout.startswith("no local port is left for connections: sysctl net.ipv4.ip_local_port_range"), (
        ran.stderr
    )


async def test_failures_leave_no_file_descriptors_behind() -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("counts open files by /proc")
    async with serving(says(cut(b"x", length=9))) as server, fetching() as fetcher:
        for _ in range(2):
            before = len(list(folder.iterdir()))
            for _ in range(50):
                with pytest.raises(FetchError):
                    await fetcher.fetch(Request(f"{server.origin}/"))
        assert len(list(folder.iterdir())) - before < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
