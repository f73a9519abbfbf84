"""Scrapy's words: none of them works here, and each says what to write instead."""

from __future__ import annotations

from crawler.parsing import scrapy_words
from crawler.spiders.base import Spider


def test_no_word_hides_one_that_works() -> None:
    assert [name for name in scrapy_words.ATTRIBUTES if hasattr(Spider, name)] == []
