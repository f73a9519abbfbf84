"""What the commands that look at jobs print, on a queue server and without one, in this process."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from crawler.cli import main
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.model import Dead, Failure, Visit
from crawler.testing.contract.world import AT_ONCE
from tests.valkey import Valkey

_prefixes = itertools.count(1)


@pytest.fixture
def server(valkey_server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands run on the server, with keys of their own, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", valkey_server.url)
    monkeypatch.setenv("CRAWLER_KEY_PREFIX", f"l{next(_prefixes)}")
    monkeypatch.setenv("CRAWLER_LOG_LEVEL", "ERROR")  # the server of the tests keeps nothing, and they know it


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, in which no embedded server has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name in ("REDIS_URL", "CRAWLER_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command, and return what it prints to stdout and to stderr."""

    def run(*words: str, code: int = 0) -> tuple[str, str]:
        assert main(words) == code
        out, err = capsys.readouterr()
        return out, err

    return run


@pytest.mark.usefixtures("server")
def test_items_of_several_jobs_name_the_argument(said: Any) -> None:
    for job in ("a", "b"):
        said("seed", "http://a.example/", "--job", job)
    assert "say which job with crawler items JOB; there are: a, b" in said("items", code=2)[1]
    assert "say which job with --job NAME" in said("redrive", "--all", code=2)[1]


@pytest.mark.usefixtures("server")
def test_a_job_is_deleted_in_json(said: Any) -> None:
    said("seed", "http://a.example/", "--job", "a")
    assert json.loads(said("jobs", "delete", "a", "--json")[0]) == {"deleted": "a"}


@pytest.mark.usefixtures("nothing")
def test_without_a_server_no_items_are_counted(said: Any) -> None:
    assert json.loads(said("items", "--json", "--count")[0]) == {}


@pytest.mark.usefixtures("server")
def test_coverage_without_jobs_says_so(said: Any) -> None:
    assert said("coverage")[0] == "no jobs\n"


async def give_up(server: Valkey) -> None:
    """Make a dead letter of the page of the only job."""
    prefix = os.environ["CRAWLER_KEY_PREFIX"]
    async with open_redis(Server(server.url), prefix=prefix, shards=1) as backend:
        (lease,) = (await backend.queue.claim("w1", 1, await backend.jobs.all(), AT_ONCE)).leases
        await backend.queue.commit("w1", [(lease, Visit(Dead(Failure("http_404", "404 Not Found"))))], AT_ONCE)


@pytest.mark.usefixtures("server")
def test_quiet_commands_give_no_advice(said: Any, valkey_server: Valkey) -> None:
    said("seed", "http://a.example/", "--job", "a")
    asyncio.run(give_up(valkey_server))
    commands = (["items"], ["dead"], ["dead", "--list"], ["startproject", "shop"], ["list"])
    for words in commands:
        assert advice(said(*words)[1]), words
        shutil.rmtree("shop", ignore_errors=True)
        assert not advice(said(*words, "-q")[1]), words


def advice(err: str) -> list[str]:
    """What is not of the log."""
    return [line for line in err.splitlines() if not line.startswith("{")]


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("jobs list foo", "crawler jobs list takes no names; it lists all jobs"),
        ("jobs delete", "name the jobs to delete"),
        ("dead groups 43e8d840dffd", "takes no ids; letters in full: crawler dead show ID..."),
        ("items --job x", "; see crawler items --help"),
        ("itmes", "see crawler --help"),
    ],
)
def test_words_too_many_or_wrong_name_the_next_step(said: Any, words: str, text: str) -> None:
    assert text in said(*words.split(), code=2)[1]
