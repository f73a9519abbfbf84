"""Which commands a schedule may run, from the command line, from settings.py, and as they come back from the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.errors import ConfigError
from crawler.schedules.given import FIELDS, wrong_in_settings
from crawler.schedules.words import wrong_words
from crawler.settings import SCHEDULED, load

GOOD = {"cron": "*/15 * * * *", "command": ["crawl", "https://a.example/"]}


@pytest.mark.parametrize(
    "words",
    [
        "crawl https://a.example/",
        "crawl --spider quotes -a tag=love --argument tag2=life",
        "crawl -f urls.txt -O news.jsonl --order lifo --processes 2 --concurrency 8 --strict",
        "crawl https://a.example/ -o news.jsonl --append",
        "crawl https://a.example/ --output=amqp://b.example/?exchange=items",
        "crawl https://a.example/ -o -",
        "crawl https://a.example/ -s DOWNLOAD_DELAY=2 --set=DEPTH_LIMIT=3",
    ],
)
def test_what_a_schedule_may_run(words: str) -> None:
    assert list(wrong_words(words.split(), SCHEDULED)) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "a schedule runs `crawl`"),
        ("seed https://a.example/", "a schedule runs `crawl`"),
        ("up", "a schedule runs `crawl`"),
        ("crawl https://a.example/ --job x", "--job"),
        ("crawl https://a.example/ --job=x", "--job"),
        ("crawl https://a.example/ --fresh", "--fresh"),
        ("crawl -- https://a.example/", "--:"),
        ("crawl -", "no standard input"),
        ("crawl -f -", "no standard input"),
        ("crawl https://a.example/ -o news.jsonl", "--append"),
        ("crawl https://a.example/ --output=news.jsonl", "--append"),
        # what would lead to a program or to code
        ("crawl https://a.example/ -s SPIDER_MODULES=/tmp/x", "SPIDER_MODULES"),
        ("crawl https://a.example/ -s EMBEDDED_BINARY=/bin/sh", "EMBEDDED_BINARY"),
        ("crawl https://a.example/ --set=DOWNLOADER_MIDDLEWARES=os.system", "DOWNLOADER_MIDDLEWARES"),
        ("crawl https://a.example/ -s ITEM_PIPELINES=os.system", "ITEM_PIPELINES"),
        ("crawl https://a.example/ -s EXTENSIONS=os.system", "EXTENSIONS"),
        ("crawl https://a.example/ -sSPIDER_MODULES=/tmp/x", "-sSPIDER_MODULES"),
        ("crawl https://a.example/ -qsSPIDER_MODULES=/tmp/x", "-qsSPIDER_MODULES"),
        ("crawl https://a.example/ --se SPIDER_MODULES=/tmp/x", "--se"),
        ("crawl https://a.example/ -o -s", "-o -s"),
    ],
)
def test_what_it_may_not(words: str, said: str) -> None:
    assert said in "; ".join(wrong_words(words.split(), SCHEDULED))


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(list(wrong_words(["crawl", "-", "--job", "x", "-s", "REDIS_URL=y", "-o", "z.jsonl"], SCHEDULED))) == 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ["give cron and command"]),
        ({**GOOD, "crom": "x", "zone": "y"}, ["did you mean cron?", "unknown field 'zone'"]),
        ({**GOOD, "command": "crawl https://a.example/"}, ["a list of words"]),
        ({**GOOD, "command": ["seed"], "cron": "x", "tz": "Mars"}, ["has 1 fields", "Mars", "a schedule runs"]),
        ({**GOOD, "overlap": "none"}, ["'none'"]),
        ({**GOOD, "keep": -1}, [">= 0"]),
    ],
)
def test_what_is_wrong_in_the_settings(fields: dict[str, Any], said: list[str]) -> None:
    text = "; ".join(wrong_in_settings("news", fields, SCHEDULED))
    assert [word for word in said if word not in text] == []


def test_a_settings_file_is_told_of_all_schedules_that_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        "SCHEDULES = {'news': {'cron': 'x', 'command': ['crawl']}, 'b c': {'cron': '* * * * *', 'command': ['up']}}\n"
    )
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, environ={})
    for word in ("SCHEDULES['news']: cron line 'x'", "SCHEDULES['b c']: name 'b c'", "SCHEDULES['b c']: a schedule"):
        assert word in str(raised.value)


def test_schedules_that_are_right(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(f"SCHEDULES = {{'news': {GOOD}}}\n")
    assert load(tmp_path, environ={})[0].SCHEDULES == {"news": GOOD}


def test_the_settings_of_the_page_are_right() -> None:
    page = (Path(__file__).parents[3] / "docs/schedules.md").read_text()
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)  # noqa: S102 - our own page
    (fields,) = names["SCHEDULES"].values()
    assert fields.keys() == set(FIELDS)
    assert list(wrong_in_settings("news", fields, SCHEDULED)) == []
