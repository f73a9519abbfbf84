"""Who crawls the public web without saying how to be reached is told so, once; nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from crawler.app.work import _watch_hosts
from crawler.errors import Refused
from crawler.fetch.guard import AddressGuard
from crawler.seeding.contact import ContactCheck, Watched, has_contact, is_public
from crawler.settings import Settings
from crawler.worker.supervisor import sibling_names
from tests.memory import MemoryFrontier


@pytest.mark.parametrize(
    ("user_agent", "contact"),
    [
        ("bot/1.0 (+https://example.com/bot)", True),
        ("bot/1.0 (+http://example.com)", True),
        ("bot/1.0 https://example.com/", True),
        ("bot/1.0 (me@example.com)", True),
        ("Mozilla/5.0 (compatible; bot/1.0; +https://example.com/bot)", True),
        (Settings().USER_AGENT, False),
        ("bot", False),
        ("", False),
        ("bot/1.0 (+https://)", False),
        ("bot/1.0 @home", False),
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101", False),
    ],
)
def test_what_counts_as_a_contact(user_agent: str, contact: bool) -> None:
    assert has_contact(user_agent) is contact


@pytest.mark.parametrize("host", ["shop.com", "a.b.shop.com.", "xn--fiqs8s.cn", "93.184.215.14", "[2606:2800:220::1]"])
def test_public_hosts(host: str) -> None:
    assert is_public(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "www.localhost",
            "intranet",
            "printer.local",
            "db.internal",
            "a.example",
            "a.test",
            "x.home.arpa.",
        ),
        *(
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
        ),
    ],
)
def test_hosts_that_are_somebodys_own(host: str) -> None:
    assert not is_public(host)


def warned(user_agent: str, hosts: Sequence[str]) -> list[str]:
    """The hosts named in the warnings."""
    check = Watched(AddressGuard(["127.0.0.0/8"]), ContactCheck(user_agent))
    with capture_logs() as lines:
        for host in hosts:
            check.check_host(host)
    assert all((line["event"], line["log_level"]) == ("no_contact", "warning") for line in lines)
    assert all("-s USER_AGENT=" in line["help"] for line in lines)
    return [line["host"] for line in lines]


def test_one_warning_at_the_first_public_host() -> None:
    assert warned("bot/1.0", ["127.0.0.1", "localhost", "shop.com", "shop.com", "other.com"]) == ["shop.com"]


def test_none_with_a_contact_or_at_home() -> None:
    assert not warned("bot/1.0 (+https://example.com/bot)", ["shop.com"])
    assert not warned("bot/1.0", ["127.0.0.1", "localhost"])


def test_none_for_what_is_refused() -> None:
    with pytest.raises(Refused):
        warned("bot/1.0", ["10.1.2.3"])


async def test_a_worker_command_learns_from_its_processes_whom_they_ask() -> None:
    frontier = MemoryFrontier()
    ours, others = f"{sibling_names()}abc123", "elsewhere:1:abc123"
    with capture_logs() as lines:
        watching = asyncio.create_task(_watch_hosts(frontier.backend.reading, ContactCheck("bot/1.0")))
        frontier.beat(others, {"job_hosts": {"j": {"theirs.com": [1, 2.0]}}})
        frontier.beat(ours, {"job_hosts": {"j": {"127.0.0.1": [9, 2.0], "shop.com": [1, 2.0]}}})
        await asyncio.wait_for(watching, 10)
    assert [line["host"] for line in lines] == ["shop.com"]
