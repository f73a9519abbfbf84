"""Each word of FEEDS is obeyed, or a sentence says what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.parsing.feeds import Feed, feed_of, plain_form, problems, renaming


def test_words_of_scrapy_and_ours() -> None:
    words = {
        "format": "csv",
        "fields": ["url", "price"],
        "overwrite": True,
        "spiders": ["shop"],
        "batch_item_count": "100",
        "batch_bytes": 10**9,
        "batch_seconds": 3600,
    }
    assert feed_of(words) == Feed("csv", ("url", "price"), True, (), ("shop",), 100, 10**9, 3600.0)


def test_what_changes_nothing_here_is_no_problem() -> None:
    assert feed_of(
        {"encoding": "utf8", "indent": 4, "store_empty": True, "uri_params": None, "postprocessing": []}
    ) == (Feed())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"fromat": "csv"}, "unknown word 'fromat'; did you mean format?"),
        ({"x": 1}, "unknown word 'x'; there are format, fields,"),
        ({"encoding": "latin-1"}, "iconv -f UTF-8 -t latin-1"),
        ({"postprocessing": ["scrapy.extensions.postprocessing.GzipPlugin"]}, "items.jsonl.gz"),
        ({"item_filter": "shop.Filter"}, "write item_classes or spiders"),
        ({"item_export_kwargs": {"delimiter": ";"}}, "python:MODULE:CLASS"),
        ({"uri_params": "shop.params"}, r"%\(name\)s"),
        ({"fields": 5}, "fields: expected a table or a list"),
        ({"fields": {"a": "x", "b": "x"}}, "fields: the name 'x' stands there twice; give each field a name of its"),
        ({"fields": ["a", "b", "a"]}, "fields: the name 'a' stands there twice"),
        ({"batch_item_count": -1}, "batch_item_count: expected"),
        ({"overwrite": "maybe"}, "overwrite: expected true or false"),
        ({"spiders": "shop"}, "spiders: expected a list"),
    ],
)
def test_a_word_that_cannot_be_obeyed_says_what_to_write(words: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        feed_of(words)


def test_every_wrong_output_is_told() -> None:
    found = dict(problems({"a.csv": {}, "b.csv": {"x": 1}, "": {}}))
    assert list(found) == ["b.csv", ""]
    assert "needs a name" in found[""]


def test_paths_and_classes_become_text() -> None:
    feeds = {Path("out/a.csv"): {"item_classes": (Feed, "shop.Book")}, "file:///tmp/b.csv": {}, "stdout:": {}}
    assert plain_form("FEEDS", feeds) == {
        "out/a.csv": {"item_classes": ["crawler.parsing.feeds.Feed", "shop.Book"]},
        "/tmp/b.csv": {},
        "-": {},
    }
    assert plain_form("FEED_URI", Path("a.csv")) == "a.csv"
    assert plain_form("FEED_EXPORT_FIELDS", "url, price") == ["url", "price"]
    assert plain_form("FEEDS", ["a.csv"]) == ["a.csv"], "the type check names this"


def test_fields_may_have_other_names() -> None:
    assert renaming(("url", "price")) == (("url", "url"), ("price", "price"))
    assert renaming({"price": "Preis"}) == (("price", "Preis"),)
    assert renaming(None) == ()
