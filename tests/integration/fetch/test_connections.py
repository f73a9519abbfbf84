"""Connections used again: no surplus byte becomes an answer, no request goes out twice."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from crawler.errors import FetchError
from crawler.model import Request
from tests.integration.fetch.server import Server, cut, fetching, ok, says, serving


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


async def test_a_request_is_never_sent_twice_unseen() -> None:
    """aiohttp itself would ask again when a connection it has used before is dropped."""
    async with serving(says(ok(b"fine"), b"")) as server, fetching() as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/1"))
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"{server.origin}/2"))
    assert (caught.value.kind, caught.value.transient) == ("reset", True)
    assert len(server.heads) == 2


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
