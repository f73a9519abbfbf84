"""A login is sent to its own origin, on new and open connections alike, and to nobody else."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from crawler import policy
from crawler.model import Request
from crawler.policy import RetryPolicy
from crawler.robots.gate import RobotsGate
from tests.asking import ask
from tests.integration.fetch.server import Server, fetching, ok, says, serving
from tests.memory import MemoryFrontier

LOGIN = "Basic bWU6Z2VoZWlt"


def logins(server: Server) -> list[bool]:
    """Whether each request brought the login."""
    return [f"authorization: {LOGIN}".lower() in head.lower() for head in server.heads]


async def test_pages_and_robots_txt_of_the_origin_and_no_other(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with (
        serving(says(ok())) as ours,
        serving(says(ok())) as other_port,
        serving(says(ok()), host="127.0.0.2") as other_host,
        serving(says(ok()), tls=tls) as other_scheme,
        fetching(authorizations={ours.origin: LOGIN}, tls_ca_file=str(tmp_path / "ca.pem")) as fetcher,
    ):
        others = (other_port, other_host, other_scheme)
        gate = RobotsGate(MemoryFrontier(), fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=0)
        for server in (ours, *others):
            await ask(gate, f"{server.origin}/")
            for path in ("/", "/1", "/2"):
                await fetcher.fetch(Request(f"{server.origin}{path}"))
            await fetcher.fetch(Request(f"{server.origin}/form", method="POST", body=b"x"))
    assert logins(ours) == [True] * 5
    assert [logins(server) for server in others] == [[False] * 5] * 3


async def test_not_after_a_redirect_to_another_origin() -> None:
    async with serving(says(ok())) as other:
        away = ok(b"", f"Location: {other.origin}/login", status="302 Found")
        async with serving(says(away)) as ours, fetching(authorizations={ours.origin: LOGIN}) as fetcher:
            response = await fetcher.fetch(Request(f"{ours.origin}/", headers={"x-api-key": "geheim"}))
            target = policy.redirect(response, RetryPolicy())
            assert isinstance(target, Request)
            await fetcher.fetch(target)
    assert (logins(ours), logins(other)) == ([True], [False])
    assert "geheim" in ours.heads[0]
    assert "geheim" not in other.heads[0]


async def test_a_request_that_brings_its_own_login_keeps_it() -> None:
    async with serving(says(ok())) as ours, fetching(authorizations={ours.origin: LOGIN}) as fetcher:
        await fetcher.fetch(Request(ours.origin + "/", headers={"Authorization": "Bearer mine"}))
        await fetcher.fetch(Request(ours.origin + "/", headers={"x-other": "1"}))
    assert "bearer mine" in ours.heads[0].lower()
    assert logins(ours) == [False, True]
