"""What is wrong with a schedule is said at once, before anything is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory; no command here gets as far as to ask a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "news"], ["takes a name, a cron line and a command"]),
        (["add", "news", "*/15 * * * *", "--", "up"], ["a schedule runs `crawl`"]),
        (
            ["add", "a b", "x", "--tz", "Mars", "--", "crawl", "-s", "REDIS_URL=x"],
            ["'a b'", "'x'", "Mars", "REDIS_URL"],
        ),
        (["add", "news", "@daily", "--", "crawl"], ["no seeds"]),
        (["add", "news", "@daily", "--", "crawl", "--spider", "sit"], ["did you mean site?"]),
        (["add", "news", "@daily", "--", "crawl", "-f", "nothing"], ["no such file"]),
        (
            ["add", "news", "@daily", "--", "crawl", "https://a.example/", "-O", "x.xml"],
            ["no output has the ending .xml"],
        ),
        (["add", "news", "@daily", "--", "crawl", "https://a.example/", "--processes", "-1"], ["--processes"]),
        (["list", "news"], ["takes no name"]),
        (["remove"], ["takes one name"]),
    ],
)
def test_what_is_wrong_is_said_at_once(words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", *words]) == 2
    error = capsys.readouterr().err
    assert [word for word in said if word not in error] == []
    assert "Traceback" not in error
