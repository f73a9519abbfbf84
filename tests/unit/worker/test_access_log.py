"""One line for each visit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crawler.errors import ConfigError
from crawler.model import Dead, Done, Failure, Lease, Outcome, Request, Skip, Visit
from crawler.worker import access_log
from crawler.worker.access_log import AccessLog


def lease(url: str = "http://ann:secret@a.example/1") -> Lease:
    """A second try."""
    return Lease("news", Request(url), b"", "a.example", attempt=1)


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of the file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_has_what_one_greps_for_and_no_password(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    log = AccessLog(str(file), "w1")
    visit = Visit(Done(), items=(b"{}",), links=(Request("http://a.example/2"),), status=200, size=12, seconds=0.25)
    log.note(lease(), visit)
    (line,) = lines(file)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "status": 200,
        "bytes": 12,
        "seconds": 0.25,
        "items": 1,
        "links": 1,
        "outcome": "done",
        "why": "",
        "job": "news",
        "worker": "w1",
        "attempt": 2,
        "url": "http://***@a.example/1",
    }


@pytest.mark.parametrize(
    ("outcome", "word", "why"),
    [
        (Skip("robots", "Disallow: /"), "skip", "robots: Disallow: /"),
        (Dead(Failure("callback", "KeyError: 'x'", line="shop.py:7")), "dead", "KeyError: 'x' (shop.py:7)"),
    ],
)
def test_it_says_how_a_visit_ended(tmp_path: Path, outcome: Outcome, word: str, why: str) -> None:
    file = tmp_path / "access.jsonl"
    AccessLog(str(file), "w1").note(lease(), Visit(outcome))
    (line,) = lines(file)
    assert (line["outcome"], line["why"]) == (word, why)


def test_a_file_that_was_rotated_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "POLL_SECONDS", 0.0)
    file = tmp_path / "access.jsonl"
    log = AccessLog(str(file), "w1")
    log.note(lease(), Visit(Done()))
    file.rename(tmp_path / "access.1")
    log.note(lease(), Visit(Done()))
    file.unlink()
    log.note(lease(), Visit(Done()))
    assert (len(lines(file)), len(lines(tmp_path / "access.1"))) == (1, 1)


def test_processes_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    for log in (AccessLog(str(file), "w1"), AccessLog(str(file), "w2")):
        log.note(lease(), Visit(Done()))
    assert [line["worker"] for line in lines(file)] == ["w1", "w2"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_stops_nothing_and_is_said_once() -> None:
    log = AccessLog("/dev/full", "w1")
    with capture_logs() as logs:
        log.note(lease(), Visit(Done()))
        log.note(lease(), Visit(Done()))
    assert [one["event"] for one in logs if one["log_level"] == "warning"] == ["access_log_loses_lines"]


def test_a_file_that_cannot_be_written_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ACCESS_LOG=.*No such file"):
        AccessLog(str(tmp_path / "missing" / "access.jsonl"), "w1")
