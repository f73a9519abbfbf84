"""What FEEDS and the command line say together of where items go."""

from __future__ import annotations

import pytest

from crawler.app.outputs import with_feeds
from crawler.errors import ConfigError
from crawler.export.target import Target
from crawler.settings import Settings

FIELDS = (("url", "url"), ("price", "price"))


def test_feeds_are_targets_with_the_defaults_of_the_settings() -> None:
    settings = Settings(
        FEEDS={"a.jsonl": {"overwrite": True}, "b-%(batch_id)d.jsonl": {"fields": {"n": "m"}, "spiders": ["shop"]}},
        FEED_EXPORT_FIELDS=("url", "price"),
    )
    assert with_feeds(settings) == [
        Target("a.jsonl", overwrite=True, fields=FIELDS),
        Target("b-%(batch_id)d.jsonl", fields=(("n", "m"),), spiders=("shop",)),
    ]


def test_the_command_line_adds_to_feeds_and_takes_the_words_for_the_same_name() -> None:
    settings = Settings(FEEDS={"a.jsonl": {"spiders": ["shop"]}})
    given = [Target("a.jsonl", append=True), Target("b.jsonl")]
    assert with_feeds(settings, given) == [Target("a.jsonl", append=True, spiders=("shop",)), Target("b.jsonl")]
    assert with_feeds(settings, [Target("a.jsonl", overwrite=True)])[0].overwrite


def test_the_older_names_of_scrapy() -> None:
    assert with_feeds(Settings(FEED_URI="a.jl", FEED_FORMAT="jsonlines")) == [Target("a.jl")]
    assert with_feeds(Settings(FEED_URI="a.jl", FEEDS={"a.jl": {"overwrite": True}})) == [Target("a.jl", True)]
    assert with_feeds(Settings(FEED_FORMAT="csv")) == []


@pytest.mark.parametrize(
    ("feeds", "why"),
    [
        ({"items.xml": {}}, r"FEEDS\['items.xml'\]: items.xml: no output has the ending .xml; there are .jsonl"),
        ({"items.jsonl": {"format": "xml"}}, "there is no format xml; there are .jsonl"),
        ({"items.jsonl": {"format": "sqlite"}}, r"its name says JSON lines, not a table of .*ends in \.sqlite"),
        ({"ftp://u:geheim@h/a.csv": {}}, r"FEEDS\['ftp://u:\*\*\*@h/a.csv'\]: .*items go to a file"),
        ({"redis://h/0?list=a": {"batch_item_count": 5}}, r"redis://h/0\?list=a'\]: batch_… are words of files; Redis"),
        ({"items.parquet": {"batch_seconds": 5}}, r"batch_… are words of files; .*: leave them out"),
        ({"items.jsonl": {"batch_item_count": 5}}, r"names of their own: items-%\(batch_id\)05d\.jsonl"),
    ],
)
def test_an_output_that_does_not_exist_is_an_error_of_the_settings(
    feeds: dict[str, dict[str, object]], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        with_feeds(Settings(FEEDS=feeds))
    assert "geheim" not in str(caught.value)
