"""Scrapy's words: none of them is a setting of the crawler, and each says what to write instead."""

from __future__ import annotations

import pytest

from crawler.parsing import scrapy_words
from crawler.parsing.scrapy_words import instead
from crawler.settings import NAMES
from crawler.spiders.base import Spider


def test_no_word_hides_one_that_works() -> None:
    assert NAMES & scrapy_words.SETTINGS.keys() == set()
    assert [name for name in scrapy_words.ATTRIBUTES if hasattr(Spider, name)] == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("ITEM_PIPELINES", "write def process_item(self, item) in the spider"),
        ("FEED_EXPORT_ENCODING", "write -o FILE.jsonl on the command line"),
        ("ITEMS", None),
    ],
)
def test_a_word_stands_for_itself_or_for_what_begins_like_it(name: str, advice: str | None) -> None:
    assert instead(scrapy_words.SETTINGS, name) == advice
