"""`seed --from` as a command: exit codes and what it says. `tests/chaos/test_doors.py` kills what it works with."""

from __future__ import annotations

import asyncio
import signal

import redis

from tests.acceptance.shell import Shell
from tests.valkey import Valkey


async def test_a_wrong_url_is_exit_78_and_a_broker_that_is_away_69(shell: Shell) -> None:
    wrong = await shell.run("seed", "--from", "amqp://me:secret@host/?queues=urls")
    assert (wrong.code, "did you mean queue?" in wrong.error, "secret" in wrong.err) == (78, True, False)
    away = await shell.run("seed", "--from", "amqp://me:secret@127.0.0.1:1/?queue=urls")
    assert (away.code, "connection refused" in away.error, "secret" in away.err) == (69, True, False)


async def test_a_missing_extra_is_named(shell: Shell) -> None:
    (shell.folder / "aio_pika.py").write_text("raise ImportError")
    path = f"{shell.folder}:{shell.environment['PYTHONPATH']}"
    ended = await shell.run("seed", "--from", "amqp://host/?queue=urls", PYTHONPATH=path)
    assert (ended.code, "needs the extra `rabbitmq`" in ended.error) == (78, True)


async def test_options_that_do_not_fit_together_are_usage_errors(shell: Shell) -> None:
    for arguments, why in (
        (("--follow",), "need --from"),
        (("--idle", "5"), "need --from"),
        (("--from", "amqp://host/?queue=urls", "http://a.example/"), "either --from or URLs"),
    ):
        ended = await shell.run("seed", *arguments)
        assert (ended.code, why in ended.error) == (2, True)
    unknown = await shell.run("seed", "--from", "kafka://host/")
    assert (unknown.code, "expected one of amqp://" in unknown.error) == (78, True)


async def test_a_list_as_scrapy_redis_has_it(shell: Shell, server: Valkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.rpush("news:start_urls", "http://a.example/", '{"url": "http://b.example/", "priority": 3}', "{}")
    ended = await shell.run("seed", "--from", f"{server.url}?list=news:start_urls", "--strict")
    assert (ended.code, ended.out) == (3, "new 2, known 0, refused 1 (job default)\n")
    assert "refused {}: it has no url" in ended.err


async def test_each_bad_message_is_named_also_when_ctrl_c_ends_the_command(shell: Shell, server: Valkey) -> None:
    """Nothing else ends `--follow`, and the queue has them no more."""
    with redis.Redis.from_url(server.url) as client:
        client.rpush("bad", *(f"ftp://a.example/{n}" for n in range(50)), "http://a.example/")
        source = f"{server.url}?list=bad"
        following = await shell.start("seed", "--from", source, "--follow", "--strict")
        assert following.stderr is not None
        async with asyncio.timeout(20):
            said = [(await following.stderr.readline()).decode() for _ in range(50)]
    following.send_signal(signal.SIGINT)
    last = (await following.communicate())[1].decode()
    assert [line.partition(": ")[0] for line in said] == [f"refused ftp://a.example/{n}" for n in range(50)]
    assert ("interrupted: new " in last, "refused 50 so far" in last, following.returncode) == (True, True, 3)
