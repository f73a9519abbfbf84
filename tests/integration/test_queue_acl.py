"""The user of the queue server: the rule that we document is enough, and what it lacks is told before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.errors import ConfigError
from crawler.frontier.redis.acl import COMMANDS, RULE, SENTINEL_RULE
from crawler.model import Job, Request
from crawler.settings import Settings
from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet, ask
from tests.webserver import Site, serve

# Commands that every connection sends, or that a user may lack.
OTHERS = {"hello", "auth", "ping", "client|setinfo", "client|setname", "waitaof", "config|get", "select"}


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with Valkey(tcp=True, appendonly=True) as running:
        yield running


@pytest.fixture
def admin(server: Valkey) -> Iterator[Any]:
    with Redis.from_url(server.url, decode_responses=True) as client:
        client.acl_log_reset()
        client.flushall()
        client.script_flush()
        client.config_resetstat()
        yield client
        client.execute_command("ACL", "DELUSER", "crawl")


def user(admin: Any, rule: str) -> str:
    """Make the user `crawl`, and return the URL with its login."""
    port = admin.connection_pool.connection_kwargs["port"]
    admin.execute_command("ACL", "SETUSER", "crawl", "reset", "on", ">secret", *rule.split())
    return f"redis://crawl:secret@127.0.0.1:{port}/0"


async def told(url: str) -> str:
    """What a person is told who opens the frontier."""
    with pytest.raises(ConfigError) as refused:
        async with connect(Config(Settings(REDIS_URL=url), {}, Path())):
            pass
    assert refused.value.exit_code == 78
    assert "secret" not in str(refused.value)
    return str(refused.value)


async def test_the_documented_rule_is_enough_for_every_command(admin: Any, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"REDIS_URL": user(admin, RULE.format(prefix="crawler"))})
    async with serve(Site(pages=12, hosts=2, seed=1)) as site:
        assert (await shell.run("crawl", *site.seeds, "-O", "items.jsonl", *LOCAL)).code == 0
        for command in (
            ["why", site.seeds[0]],
            ["control", "rate", "a.example", "1/s"],
            ["schedule", "add", "news", "@daily", "--", "crawl", site.seeds[0]],
        ):
            ended = await shell.run(*command)
            assert ended.code == 0, (command, ended.err)
            assert "permission" not in ended.err
    assert {entry["object"] for entry in admin.execute_command("ACL", "LOG")} == {"config|get"}
    sent = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert {name.upper() for name in sent - OTHERS} - {"ACL|LOG", "ACL|SETUSER", "FLUSHALL", "CONFIG|RESETSTAT"} <= set(
        COMMANDS
    )


def test_the_rules_are_documented() -> None:
    text = " ".join((ROOT / "docs" / "servers.md").read_text().split())
    assert RULE.format(prefix="crawler") in text
    assert SENTINEL_RULE in text


@pytest.mark.parametrize("kind", [ClusterFleet, SentinelFleet])
async def test_the_rule_is_enough_for_several_servers(kind: type[ClusterFleet] | type[SentinelFleet]) -> None:
    with kind() as fleet, capture_logs() as logs:
        for node in fleet.nodes:
            ask(node, "ACL", "SETUSER", "crawl", "on", ">secret", *RULE.format(prefix="crawler").split())
        url = fleet.url.replace("://", "://crawl:secret@")
        if isinstance(fleet, SentinelFleet):
            for sentinel in fleet.sentinels:
                ask(sentinel, "ACL", "SETUSER", "ask", "on", ">word", *SENTINEL_RULE.split())
            url += "?sentinel_username=ask&sentinel_password=word"
        settings = Settings(REDIS_URL=url, SHARDS=6, REDIS_REPLICAS=1)
        async with connect(Config(settings, {}, Path())) as backend:
            job = await backend.jobs.create(Job("news", epoch="e"))
            await backend.adding.add(job, [Request(f"http://{name}.example/") for name in "abcdefgh"], seed=True)
            await backend.adding.durable()
            assert (await backend.reading.stats(job)).pending == 8
        for node in fleet.nodes:
            refused = {entry[b"object"] for entry in ask(node, "ACL", "LOG")}
            assert refused <= {b"config|get"}
    assert "min-replicas" not in str(logs)  # nobody knows it


async def test_what_clouds_forbid_is_done_without(admin: Any) -> None:
    url = user(admin, f"{RULE.format(prefix='crawler')} -config -waitaof -wait")
    with capture_logs() as logs:
        async with connect(Config(Settings(REDIS_URL=url), {}, Path())) as backend:
            job = await backend.jobs.create(Job("news", epoch="e"))
            await backend.adding.add(job, [Request("http://a.example/")], seed=True)
            await backend.adding.durable()
            await backend.adding.durable()
    (told,) = [line["why"] for line in logs if line["event"] == "disk_not_awaited"]
    assert "run the 'waitaof' command; after a power failure" in told
    assert {entry["object"] for entry in admin.execute_command("ACL", "LOG")} == {"config|get", "waitaof"}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("WAIT", "unknown command 'WAIT'; leave REDIS_REPLICAS at 0"),
        ("INFO", "unknown command 'INFO'"),
        ("EVAL", "unknown command 'EVAL'"),
    ],
)
async def test_a_command_that_a_service_has_removed_is_named(command: str, why: str) -> None:
    with Valkey(tcp=True, options={f"rename-command {command}": "removed"}) as server:
        settings = Settings(REDIS_URL=server.url, REDIS_REPLICAS=1)
        with pytest.raises(ConfigError) as refused:
            async with connect(Config(settings, {}, Path())):
                pass
    assert refused.value.exit_code == 78
    assert str(refused.value).endswith(f"a command that the crawler needs: {why}")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("~crawler:* +@all", r"No permissions to access a key.* ACL SETUSER crawl ~{crawler:\* "),
        ("~* +@all -hset -xadd", "may not run HSET, XADD on the keys {crawler:"),
        ("~* +@all -@write", "may not run .*ZADD"),
        ("~* +@all -eval", "crawl has no permissions to run the 'eval' command"),
        ("~* +@all -info", "crawl has no permissions to run the 'info' command"),
        ("%R~* +@all", "No permissions to access a key"),
        ("~* +@all -client|setname", "crawl has no permissions to run the 'client|setname' command"),
    ],
)
async def test_what_the_user_lacks_is_told_at_the_start(admin: Any, rule: str, why: str) -> None:
    text = await told(user(admin, rule))
    assert re.search(why.replace("|", r"\|"), text), text
    assert "ACL SETUSER crawl ~{crawler:*" in text
    assert admin.dbsize() == 0
