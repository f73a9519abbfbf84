"""`crawler migrate PATH`: lines or one document, and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crawler.cli import main

FINE = "from crawler import Spider\nBOT_NAME = 'shop'\n"


def test_what_is_to_be_changed_is_a_line_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.py").write_text("BOT_NAME = 'x'\nREDIS_HOST = 'h'\n")
    (tmp_path / "old.py").write_text("print 'two'\n")
    (tmp_path / "book.ipynb").write_text("{}")
    assert main(["migrate", str(tmp_path)]) == 1
    said, errors = capsys.readouterr()
    line, summary = said.splitlines()
    assert line == 'missing  setting  REDIS_HOST  settings.py:2  write REDIS_URL = "redis://h:6379/0"'
    assert summary == ("1 file: 1 have, 0 different, 1 missing; 1 notebook not read; 1 path not read")
    assert "not read: old.py:1: no Python of today" in errors


def test_all_shows_what_works_and_nothing_missing_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.py").write_text(FINE)
    assert main(["migrate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 file: 1 have, 0 different, 0 missing\n"
    assert main(["migrate", str(tmp_path), "--all"]) == 0
    assert capsys.readouterr().out.startswith("have  setting  BOT_NAME  settings.py:2  changes nothing here: ")


def test_a_document_has_all_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("from scrapy import Spider\n")
    assert main(["migrate", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["have"], told["different"], told["missing"]) == (2, 0, 1, 0)
    assert told["words"] == [
        {
            "state": "different",
            "kind": "import",
            "word": "scrapy.Spider",
            "change": "write `from crawler import Spider`",
            "places": ["a.py:1", "b.py:1"],
        }
    ]


def test_a_wrong_path_is_a_mistake_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such file or folder" in capsys.readouterr().err
    assert main(["migrate", str(tmp_path), "-s", "DOWNLOAD_DELAY=1"]) == 2
    assert "leave out -s" in capsys.readouterr().err


def test_names_of_a_project_control_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a\x1b[2J.py").write_text("from scrapy import Spider\n")
    main(["migrate", str(tmp_path)])
    assert "a\\x1b[2J.py:1" in capsys.readouterr().out
