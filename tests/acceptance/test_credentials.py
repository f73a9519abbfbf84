"""Credentials: sent to whom they belong, kept in the queue for another try, and shown nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.acceptance.shell import LOCAL, Ended, Shell
from tests.webserver import Answer, Hit, Running, Site, redirect, serve

SECRETS = ("geheim", "Z2VoZWlt")  # as it is, and in base 64
LOGIN = "Basic bWU6Z2VoZWlt"  # me:geheim
SPIDER = """
from crawler import Request, Spider
class Shop(Spider):
    name = "shop"
    start_urls = ["%s"]
    def parse(self, response):
        headers = {"Authorization": "Basic bWU6Z2VoZWlt", "Cookie": "sid=geheim; b=geheim", "X-Api-Key": "geheim"}
        for path in ("/fails", "/slow"):
            url = response.urljoin(path)
            form = {"method": "POST", "body": b"geheim", "headers": headers, "meta": {"token": "geheim"}}
            yield Request(url, callback=self.fail, **form)
    def fail(self, response):
        self.log_it(response)
        raise ValueError(f"no price at {response.request!r}: {dict(response.request.headers)}")
    def log_it(self, response):
        import logging, structlog
        logging.getLogger("shop").warning("asked with %%s", response.request)
        structlog.get_logger().warning("asked", headers=response.request.headers, request=response.request)
"""


def assert_nothing_shown(*commands: Ended) -> None:
    """Neither on stdout nor on stderr."""
    for ended in commands:
        for secret in SECRETS:
            assert secret not in ended.out
            assert secret not in ended.err


@asynccontextmanager
async def worker(shell: Shell) -> AsyncIterator[asyncio.subprocess.Process]:
    """At work in the background; its log is read at the end."""
    process = await shell.start(
        "worker", "--processes", "1", "-v", "-s", "RETRY_TIMES=0", "-s", "GRACE_SECONDS=0", *LOCAL
    )
    try:
        yield process
    finally:
        process.terminate()
        out, err = await process.communicate()
        assert b"asked with" in err
        assert_nothing_shown(Ended(0, out.decode(), err.decode()))


async def test_no_command_and_no_log_shows_a_credential(shell: Shell) -> None:
    site = Site(pages=1, hosts=1)
    site.on("/fails", lambda hit, page: Answer(b"<p>no price"))
    site.on("/slow", lambda hit, page: Answer(b"<p>late", delay=600.0))
    shell.environment["CRAWLER_HTTP_AUTH"] = '{"http://127.0.1.9": "me:geheim"}'
    (shell.folder / "spiders").mkdir()
    async with serve(site) as web:
        origin = web.seeds[0].partition("/s")[0]
        (shell.folder / "spiders" / "shop.py").write_text(SPIDER % web.seeds[0])
        assert_nothing_shown(await shell.run("seed", "--spider", "shop", "--json", *LOCAL))
        async with worker(shell):
            await web.until(4)  # robots.txt, the first page, and both that it asks for
            while not await dead(shell):
                pass
            assert_nothing_shown(
                *[
                    await shell.run("inspect", what, "--json")
                    for what in ("active", "conf", "workers", "hosts", "stats")
                ],
                *[await shell.run("inspect", what) for what in ("active", "conf")],
                *[await shell.run("why", f"{origin}/slow", *form, *LOCAL) for form in ((), ("--json",))],
            )
        (letter,) = await dead(shell)
        shown = [
            await shell.run("dead", *arguments)
            for arguments in ((), ("--json",), ("--list",), ("show", letter), ("show", letter, "--json"))
        ]
        shown += [await shell.run("why", f"{origin}/fails", *form, *LOCAL) for form in ((), ("--json",))]
        shown += [await shell.run(name, *form) for name in ("status", "jobs", "settings") for form in ((), ("--json",))]
        assert_nothing_shown(*shown, await shell.run("dead", "--list", "--json"))
        assert "ValueError: no price at Request(" in shown[3].out
        assert_redriven_with_its_headers(web, await shell.run("redrive", letter))
        await shell.run("worker", "--until-finished", "--processes", "1", "-s", "DOWNLOAD_TIMEOUT=2", *LOCAL)
        (first, again) = [hit for hit in web.log if hit.path == "/fails"][:2]
        assert (first.headers["authorization"], first.headers["cookie"]) == (LOGIN, "sid=geheim; b=geheim")
        assert again.headers["authorization"] == LOGIN


async def dead(shell: Shell) -> list[str]:
    """The ids of dead letters."""
    return [json.loads(line)["id"] for line in (await shell.run("dead", "--list", "--json")).out.splitlines()]


def assert_redriven_with_its_headers(web: Running, ended: Ended) -> None:
    """What is shown is masked; what is kept is not."""
    assert ended.out.startswith("1 back to pending"), web.log


async def test_a_login_goes_to_its_origin_alone(shell: Shell) -> None:
    ours, theirs = Site(pages=1, hosts=1), Site(pages=2, hosts=2)
    theirs.hosts = ["127.0.1.2", "127.0.1.3"]

    def guarded(hit: Hit, page: Answer) -> Answer:
        return page if hit.headers.get("authorization") == LOGIN else Answer(b"who are you?", status=401)

    ours.on("/", guarded)
    async with serve(ours) as mine, serve(theirs) as others:
        for number, target in enumerate(others.seeds):
            ours.on(f"/away{number}", redirect(target))
        origin = mine.seeds[0].partition("/s")[0]
        shell.environment["CRAWLER_HTTP_AUTH"] = json.dumps({f"{origin}/": "me:geheim"})
        away = [f"{origin}/away{number}" for number in range(2)]
        ended = await shell.run("crawl", mine.seeds[0], *away, "-o", "items.jsonl", "--json", *LOCAL)
    assert ended.code == 0, ended.err
    assert {hit.path for hit in mine.log} == {"/robots.txt", "/s0/p0.html", "/away0", "/away1"}
    assert [hit.headers.get("authorization") for hit in mine.log] == [LOGIN] * len(mine.log)
    assert {hit.path for hit in others.log} >= {"/robots.txt", "/s0/p0.html", "/s1/p1.html"}
    assert not any("authorization" in hit.headers for hit in others.log)
    assert_nothing_shown(ended)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DEFAULT_REQUEST_HEADERS", '{"Cookie": "sid=geheim"}', "DEFAULT_REQUEST_HEADERS has Cookie, which every host"),
        ("HTTP_AUTH", '{"a.example": "me:geheim"}', "HTTP_AUTH: 'a.example': no scheme"),
        ("HTTP_AUTH", '{"https://a.example": "geheim"}', "the login for https://a.example has no colon"),
        ("HTTP_AUTH", "me:geheim", "setting HTTP_AUTH=***"),
    ],
)
async def test_a_wrong_setting_is_an_error_that_shows_no_password(
    bare: Shell, name: str, value: str, told: str
) -> None:
    ended = await bare.run("crawl", "http://127.0.0.1/", "-s", f"{name}={value}")
    assert (ended.code, told in ended.error) == (78, True), ended.err
    assert_nothing_shown(ended)
