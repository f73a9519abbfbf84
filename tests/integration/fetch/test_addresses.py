"""Only permitted addresses are connected to, whatever the spelling, the name or the DNS says."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import aiodns
import pycares
import pytest
from aiohttp.abc import ResolveResult

from crawler.errors import FetchError, OwnLimit, Refused
from crawler.fetch import connect
from crawler.model import Request
from tests.integration.fetch.server import Names, fetching, ok, says, serving


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.2.1"])
async def test_a_forbidden_address_gets_no_connection(host: str) -> None:
    async with serving(says(ok()), host) as server, fetching(("127.0.1.0/24",)) as fetcher:
        with pytest.raises(Refused, match=r"loopback.*ALLOWED_NETWORKS=127.0.1.0/24,127.0.0.0/8"):
            await fetcher.fetch(Request(f"{server.origin}/"))
    assert server.connections == 0


async def test_a_permitted_network_is_asked_without_any_dns() -> None:
    names = Names()
    async with (
        serving(says(ok()), "127.0.1.7") as server,
        fetching(("127.0.1.0/24",), resolver=names) as fetcher,
    ):
        response = await fetcher.fetch(Request(f"{server.origin}/"))
    assert response.address == "127.0.1.7"
    assert names.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f.1",
    ],
)
async def test_no_spelling_of_this_machine_is_connected_to(host: str) -> None:
    names = Names(localhost=[["127.0.0.1"]])
    async with serving(says(ok())) as server, fetching(("127.0.1.0/24",), resolver=names) as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"http://{host}:{server.port}/"))
        assert caught.value.kind in ("refused", "malformed", "dns")
        assert not caught.value.transient
    assert server.connections == 0


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]])
async def test_one_forbidden_address_in_a_dns_answer_refuses_the_name(answer: list[str]) -> None:
    async with (
        serving(says(ok()), "127.0.0.1") as server,
        fetching(("127.0.1.0/24",), resolver=Names(evil=[answer])) as fetcher,
    ):
        with pytest.raises(Refused, match=r"evil.example leads to 127.0.0.1"):
            await fetcher.fetch(Request(f"http://evil.example:{server.port}/"))
    assert server.connections == 0


@pytest.mark.parametrize("answer", [["127.0.1.1", "127.0.0.1"], ["::1", "127.0.1.1"]])
async def test_the_forbidden_addresses_beside_those_of_an_allowed_network_are_left_out(answer: list[str]) -> None:
    async with (
        serving(says(ok()), "127.0.0.1") as forbidden,
        serving(says(ok()), "127.0.1.1", port=forbidden.port) as server,
        fetching(("127.0.1.0/24",), resolver=Names(local=[answer])) as fetcher,
    ):
        await fetcher.fetch(Request(f"http://local.example:{server.port}/"))
    assert (forbidden.connections, server.connections) == (0, 1)


async def test_a_name_that_changes_its_address_is_checked_again_and_connected_where_checked() -> None:
    """DNS rebinding: good when looked at first, forbidden when looked at again."""
    names = Names(evil=[["127.0.1.1"], ["127.0.0.1"]])
    async with (
        serving(says(ok(b"good", "Connection: close")), "127.0.1.1") as good,
        fetching(("127.0.1.0/24",), resolver=names) as fetcher,
    ):
        for _ in range(3):  # each on a connection of its own; the address is known for a minute
            response = await fetcher.fetch(Request(f"http://evil.example:{good.port}/"))
            assert (response.body, response.address) == (b"good", "127.0.1.1")
        assert names.asked == ["evil.example"]
        with pytest.raises(Refused):
            await fetcher.fetch(Request("http://evil.example:1/"))  # another port is looked up anew


@pytest.mark.parametrize(("code", "transient"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)])
async def test_a_name_that_does_not_exist_is_permanent_a_silent_resolver_is_not(code: int, transient: bool) -> None:
    async with fetching(resolver=Names(error=code)) as fetcher:
        with pytest.raises(FetchError, match=r"http://nowhere.example/: the name nowhere.example does not") as caught:
            await fetcher.fetch(Request("http://nowhere.example/"))
    assert (caught.value.kind, caught.value.transient) == ("dns", transient)


def from_aiodns(code: int) -> OSError:
    """As aiohttp's resolver raises it."""
    error = OSError(None, "no address")
    error.__cause__ = aiodns.error.DNSError(code, "no address")
    return error


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (from_aiodns(pycares.errno.ARES_ECONNREFUSED), 1),
        (from_aiodns(pycares.errno.ARES_EFILE), 1),
        (from_aiodns(pycares.errno.ARES_ENOMEM), 1),
        (OSError(errno.EMFILE, "Too many open files"), 1),
        (RuntimeError("can't start new thread"), 1),
        (from_aiodns(pycares.errno.ARES_ETIMEOUT), 3),
        (from_aiodns(pycares.errno.ARES_ESERVFAIL), 3),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), 3),
    ],
)
async def test_a_resolver_that_does_not_work_is_no_fault_of_the_names(error: Exception, names: int) -> None:
    resolver = Names(error, good=[["127.0.0.1"]])
    async with serving(says(ok())) as server, fetching(resolver=resolver) as fetcher:
        for n in range(names - 1):
            for _ in range(2):  # a name that is asked for again is no other one
                with pytest.raises(FetchError, match="does not resolve"):
                    await fetcher.fetch(Request(f"http://h{n}.example/"))
        for n in range(2):
            with pytest.raises(OwnLimit):
                await fetcher.fetch(Request(f"http://other{n}.example/"))
        with pytest.raises(OwnLimit):
            await fetcher.addresses("http://another.example/")
        assert (await fetcher.fetch(Request(f"http://good.example:{server.port}/"))).body == b"hello"
        if names > 1:
            with pytest.raises(FetchError, match="does not resolve"):
                await fetcher.fetch(Request("http://h0.example/"))


async def test_that_a_name_does_not_exist_is_an_answer() -> None:
    names = Names(socket.EAI_AGAIN)
    async with fetching(resolver=names) as fetcher:
        for n in range(9):
            names.error = socket.EAI_NONAME if n % 3 == 2 else socket.EAI_AGAIN
            with pytest.raises(FetchError):
                await fetcher.fetch(Request(f"http://h{n}.example/"))


async def test_names_that_nobody_ever_answers_for_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a crawl that has no others left would never end."""
    monkeypatch.setattr(connect, "_DNS_PATIENCE", 0.0)
    async with fetching(resolver=Names(socket.EAI_AGAIN)) as fetcher:
        for n in range(6):
            with pytest.raises(FetchError):
                await fetcher.fetch(Request(f"http://h{n}.example/"))


async def test_a_resolver_that_was_asked_for_many_names_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """c-ares keeps all answers that are valid. The old one ends when all its names have their answers."""
    made: list[Gated] = []

    class Gated(Names):
        def __init__(self) -> None:
            super().__init__(good=[["127.0.0.1"]], late=[["127.0.0.1"]])
            self.gate = asyncio.Event()
            self.is_closed = False
            made.append(self)

        async def resolve(self, host: str, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            assert not self.is_closed
            if host.startswith("late"):
                await self.gate.wait()
            return await super().resolve(host, *args, **kwargs)

        async def close(self) -> None:
            self.is_closed = True

    monkeypatch.setattr(connect, "_systems_resolver", Gated)
    monkeypatch.setattr(connect, "_RESOLVER_NAMES", 3)
    async with fetching() as fetcher:
        late = asyncio.create_task(fetcher.addresses("http://late.example/"))
        for n in range(3):
            assert await fetcher.addresses(f"http://good.of{n}.example/") == ["127.0.0.1"]
        assert [(len(one.asked), one.is_closed) for one in made] == [(2, False), (1, False)]
        made[0].gate.set()
        assert await late == ["127.0.0.1"]
        assert [one.is_closed for one in made] == [True, False]
    assert [one.is_closed for one in made] == [True, True]


async def test_a_closed_port_is_worth_another_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with fetching() as fetcher:
        with pytest.raises(FetchError, match="cannot connect") as caught:
            await fetcher.fetch(Request(f"http://127.0.0.1:{port}/"))
    assert (caught.value.kind, caught.value.transient) == ("connect", True)
