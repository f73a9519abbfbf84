"""Every counter of what was left out has its sentence, and only what somebody asked for is no loss."""

from __future__ import annotations

import re
from pathlib import Path

import crawler
from crawler.settings import NAMES
from crawler.status import JobStats
from crawler.views.losses import _ROWS, Loss, lost, lost_in_words, told, told_of
from crawler.views.reports import CrawlReport, SeedReport

ROOT = Path(crawler.__file__).parent


def stats(**counters: int) -> JobStats:
    named = {name.replace("__", "/"): count for name, count in counters.items()}
    return JobStats("shop", counters={"pages": 9, "items": 9, **named}, finished=True)


def test_these_counters_are_losses() -> None:
    """A row that is deleted is told as left out by the spider, which is no loss."""
    rows = (one.counter for one in lost(JobStats("shop", counters=dict.fromkeys(_ROWS, 1))))
    assert sorted(rows) == [
        *(
            "cut/attributes",
            "cut/csv_columns",
            "cut/csv_rows",
            "cut/dataloss",
            "cut/feed_end",
            "cut/link_text",
            "cut/links",
            "cut/long_urls",
            "cut/meta",
            "cut/nesting",
            "cut/robots",
            "cut/sitemap",
        ),
        *("cut/sitemap_end", "cut/stats", "cut/surplus", "cut/text", "dropped/errback", "dropped/no_sitemap"),
        *(
            "dropped/not_an_item",
            "empty/items",
            "given_up/errback",
            "given_up/item_too_large",
            "given_up/not_cached",
            "given_up/too_large",
            "links/malformed",
            "links/other_callback",
            "links/redirects",
        ),
        *(
            "links/robots_sitemaps",
            "links/sitemap_entries",
            "links/sitemap_level",
            "skip/parse_maxnodes",
            "skip/parse_maxsize",
        ),
        "twice/pages",
        *("unread/bad_url", "unread/cut", "unread/files", "unread/form", "unread/no_answer", "unread/not_noted"),
        *("unread/open", "unread/other_callback", "unread/other_files", "unread/requests"),
    ]


def test_a_bound_that_cut_and_a_skip_for_an_unknown_reason_are_losses() -> None:
    found = lost(stats(cut__links=3, skip__moon=1))
    assert [(one.counter, one.count) for one in found] == [("skip/moon", 1), ("cut/links", 3)]
    assert "moon" in found[0].text


def test_what_the_spider_dropped_and_left_out_by_itself_is_told() -> None:
    assert not lost(stats(dropped__no_price=2, links__archive=5))
    assert [one.text for one in told(stats(dropped__no_price=2))] == ["2 items: dropped by the spider (no_price)"]


def test_values_without_a_column_are_a_loss_of_their_output() -> None:
    (loss,) = lost(stats(**{"values_left_out/a.csv": 3}))
    assert loss.text.startswith("3 values: left out, because a CSV file has no column for them")
    assert loss.text.endswith(" (a.csv)")


def test_losses_stand_before_what_was_asked_for() -> None:
    assert [one.counter for one in told(stats(skip__robots=2, skip__parse_maxsize=1))] == [
        "skip/parse_maxsize",
        "skip/robots",
    ]


def test_dead_letters_are_a_loss_with_a_place_of_their_own() -> None:
    given_up = JobStats("shop", dead=2, counters={"pages": 1, "items": 1})
    assert lost(given_up) == [Loss("dead", 2, "2 pages: given up; crawler dead --job shop")]
    assert lost_in_words(told(given_up)) == ""


def test_refused_seeds_and_broken_rules_of_a_crawl_are_losses() -> None:
    seeds = SeedReport("shop", new=1, known=0, refused={"bad url": 2, "address": 1})
    ended = CrawlReport("finished", stats(skip__robots=1), seeds, (), 1.0, broken=("9 items, at least 10 wanted",))
    assert [(one.counter, one.count, one.text) for one in told_of(ended)][:-1] == [
        ("seeds/refused", 3, "3 seeds: refused (bad url 2, address 1)"),
        ("rules/broken", 1, "9 items, at least 10 wanted"),
    ]
    assert told_of(ended)[-1] == told(ended.stats)[0]
    assert lost_in_words(told_of(ended)) == "3 seeds: refused (bad url 2, address 1)"  # the summary has the rules


def test_a_crawl_that_goes_on_has_not_come_to_nothing() -> None:
    assert not lost(JobStats("shop", counters={"pages": 3}))


def test_every_setting_that_a_row_names_exists() -> None:
    named = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)+\b", (ROOT / "views" / "losses.py").read_text()))
    assert named - NAMES == set()
