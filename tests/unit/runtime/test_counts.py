"""Counts by name are added up, and not copied if one is empty."""

from crawler.runtime.counts import added


def test_the_numbers_of_each_name_are_added() -> None:
    assert added({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 5, "c": 4}


def test_with_an_empty_one_the_other_is_the_sum() -> None:
    counts = {"a": 1}
    assert added(counts, {}) is counts
    assert added({}, counts) is counts
