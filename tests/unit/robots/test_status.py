"""Which answers to the request for robots.txt let pages be fetched (RFC 9309 §2.3.1): a table, asked of the gate."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from crawler.errors import FetchError, Refused
from crawler.parsing.url import BadUrl, canonical
from crawler.response import Response
from crawler.robots.gate import RobotsGate
from crawler.testing import FakeFetcher
from tests.asking import ask
from tests.memory import MemoryFrontier

SITE = "http://a.example"
RULES = b"User-agent: t\nDisallow: /private\n"


class Case(NamedTuple):
    """`answers` to robots.txt, each leading to the next, and what follows for /public and /private."""

    answers: tuple[tuple[int, str] | FetchError, ...]  # status and Location
    public: str
    private: str


def hops(count: int, status: int = 301, to: str = "http://h{}.example/robots.txt") -> tuple[tuple[int, str], ...]:
    """As many redirects in a row."""
    return tuple((status, to.format(number)) for number in range(count))


READ = ("allow", "disallow")
ALLOWED = ("allow", "allow")
LATER = ("unreachable", "unreachable")

STATUSES: dict[int, tuple[str, str]] = {
    **dict.fromkeys((200, 201, 203, 204, 206, 226, 299), READ),
    **dict.fromkeys((300, 301, 302, 303, 304, 305, 307, 308, 399), ALLOWED),  # without a Location
    **dict.fromkeys((400, 401, 402, 403, 404, 405, 406, 408, 410, 418, 421, 425, 451, 499), ALLOWED),
    **dict.fromkeys((429, 500, 501, 502, 503, 504, 507, 520, 521, 599), LATER),
    **dict.fromkeys((100, 102, 199, 600, 799, 999), LATER),
}

CASES = (
    *(Case(((status, ""),), *words) for status, words in STATUSES.items()),
    # redirects: up to five, with each status, to other hosts and ports, relative too
    *(Case((*hops(1, status), (200, "")), *READ) for status in (301, 302, 303, 307, 308)),
    *(Case((*hops(count), (200, "")), *READ) for count in (2, 3, 4, 5)),
    Case((*hops(6), (200, "")), *ALLOWED),
    Case((*hops(20), (200, "")), *ALLOWED),
    Case((*hops(1, to="https://b.example:8443/other.txt"), (200, "")), *READ),
    Case((*hops(1, to="/files/robots.txt"), (200, "")), *READ),
    Case((*hops(1, to="//b.example/robots.txt?x=1#y"), (200, "")), *READ),
    Case((*hops(1, to="robots.txt"), (200, "")), *ALLOWED),  # to itself
    Case(hops(1, to="ftp://a.example/robots.txt"), *ALLOWED),  # nowhere
    Case(hops(1, to="http://"), *ALLOWED),
    Case((*hops(3), (404, "")), *ALLOWED),
    Case((*hops(1), (503, "")), *LATER),
    Case((*hops(5), (429, "")), *LATER),
    Case((*hops(1), FetchError("dns", "no such host", transient=True)), *LATER),
    # no answer
    *(
        Case((FetchError(kind, "no", transient=transient),), *LATER)
        for kind, transient in (
            *(("dns", True), ("connect", True), ("timeout", True), ("truncated", True), ("reset", True)),
            *(("tls", False), ("malformed", False), ("too_large", False), ("decode", False)),
        )
    ),
    Case((Refused("a private address"),), *LATER),
)


def site_of(case: Case) -> dict[str, Response | Exception]:
    """The pages that answer as the case says."""
    pages: dict[str, Response | Exception] = {}
    url = f"{SITE}/robots.txt"
    for answer in case.answers:
        if isinstance(answer, FetchError):
            pages[url] = answer
            break
        status, location = answer
        headers = {"location": location} if location else {}
        pages.setdefault(url, Response(url, status=status, headers=headers, body=RULES))
        try:
            url = canonical(location, url) if location else url
        except BadUrl:
            break
    return pages


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.answers))[:60])
async def test_statuses(case: Case) -> None:
    fetcher = FakeFetcher(site_of(case))
    gate = RobotsGate(MemoryFrontier(), fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    first = await ask(gate, f"{SITE}/public")
    assert first.word == ("again" if case.public == "allow" else "unreachable"), "the turn went to robots.txt"
    asked = len(fetcher.requests)
    assert asked <= 6
    words = [(await ask(gate, f"{SITE}/{page}")).word for page in ("public", "private")]
    assert words == [case.public, case.private]
    assert len(fetcher.requests) == asked, "nothing is asked twice"


def test_there_are_many_of_them() -> None:
    print(f"\n{len(CASES)} status cases")
    assert len(CASES) >= 75
