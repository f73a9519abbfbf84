"""The cache of known URLs: it may forget, but it never takes a new URL for a known one."""

from __future__ import annotations

import subprocess
import sys

from crawler.frontier.redis.seen_cache import FIRST_ENTRIES, SeenCache

URLS = [f"http://a.example/{number}" for number in range(20_000)]


def test_it_remembers_nearly_all_while_it_grows() -> None:
    """It forgets about one in a hundred."""
    known = SeenCache()
    for at in range(0, len(URLS), 100):
        known.update(URLS[at : at + 100])
    assert len(known) == 64 * FIRST_ENTRIES
    assert len(known.without_urls(URLS)) < 500


def test_what_was_just_added_is_known_also_when_it_is_full() -> None:
    known = SeenCache(FIRST_ENTRIES)
    for url in URLS:
        known.update([url])
        assert url in known
    assert len(known) == FIRST_ENTRIES
    assert len(known.without_urls(URLS)) > len(URLS) - FIRST_ENTRIES - 20


def test_no_new_url_is_taken_for_a_known_one() -> None:
    known = SeenCache()
    known.update(URLS[::2])
    assert known.without_urls(URLS[1::2]) == URLS[1::2]


def test_the_same_url_takes_one_entry() -> None:
    known = SeenCache()
    for _ in range(FIRST_ENTRIES):
        known.update(URLS[:2])
    assert len(known) == FIRST_ENTRIES
    assert known.without_urls(URLS[:3]) == [URLS[2]]


def test_nobody_outside_can_compute_its_numbers() -> None:
    """Not even if Python is told to use a key that everybody knows."""
    program = "from crawler.frontier.redis.seen_cache import number_of; print(number_of('http://a.example/'))"
    for key in ("0", "random"):
        words = [sys.executable, "-c", program]
        run = [subprocess.run(words, env={"PYTHONHASHSEED": key}, capture_output=True, check=True) for _ in range(2)]
        assert run[0].stdout != run[1].stdout
        assert run[0].stdout
