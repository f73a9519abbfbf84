"""What `extract` prints at its end, and its options."""

from __future__ import annotations

from collections import Counter

import pytest

from crawler.app.extract import Extraction
from crawler.cli import main
from crawler.cli.extract import _print


def test_each_error_and_each_loss_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    errors = Counter({"ZeroDivisionError: division by zero (spiders/shop.py:10)": 4, "404 Not Found": 1})
    counters = Counter({"dropped/not_an_item": 2, "empty/items": 1, "skip/robots": 1, "skip/offsite": 1})
    _print(Extraction(errors=errors, counters=counters), ["items.jsonl"], as_json=False, quiet=False)
    said = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert "1 × 404 Not Found" in said
    assert not any(r"\n" in line for line in said)


def test_the_spider_chooses_pages(capsys: pytest.CaptureFixture[str]) -> None:
    main(["extract", "--help"])
    assert "Only pages of this spider" in " ".join(capsys.readouterr().out.split())
