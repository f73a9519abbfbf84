"""Dead letters by conditions and in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.control.dead_letters import FIELDS, Group, Groups, meets, newest, parse_condition
from crawler.errors import UsageError
from crawler.model import Failure
from crawler.status import DeadLetter


def letter(number: int = 0, host: str = "a.example", failure: Failure | None = None, died: float = 0.0) -> DeadLetter:
    """One with all that is known."""
    return DeadLetter(
        id=f"id{number}",
        url=f"http://{host}/page/{number}?x=[1]",
        spider="shop",
        callback="parse_item",
        attempts=3,
        worker="w1",
        died=died,
        failure=failure or Failure("http_503", "no", 503),
        message="",
        host=host,
    )


BROKEN = Failure("callback", "KeyError: 'price'", error="KeyError", line="shop.py:42")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("error=http_503", True),
        ("error=http_5*", True),
        ("error=http_5??", True),
        ("error=http_4*", False),
        ("error=HTTP_5*", False),
        ("error=5", False),
        ("host=a.example", True),
        ("host=*.example", True),
        ("host=example", False),
        ("spider=s[gh]op", True),
        ("callback=parse_*", True),
        ("status=503", True),
        ("worker=w2", False),
        ("line=", True),
        ("line=?*", False),
        ("url=*/page/7*", True),
        ("url=*x=*", True),
        (" url =*", True),
    ],
)
def test_a_condition_is_a_shell_pattern_for_the_whole_value(condition: str, holds: bool) -> None:
    assert parse_condition(condition).holds(letter(7)) == holds


def test_what_a_spider_raised_is_part_of_the_error() -> None:
    broken = letter(failure=BROKEN)
    assert parse_condition("error=callback/KeyError").holds(broken)
    assert parse_condition("error=callback*").holds(broken)
    assert parse_condition("line=shop.py:*").holds(broken)
    assert parse_condition("status=").holds(broken)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http_503", "expected FIELD=PATTERN"),
        ("hsot=a", "did you mean host?"),
        ("=a", "there are: error, host"),
        ("zzz=a", "there are: error, host"),
    ],
)
def test_a_condition_that_is_none_says_what_would_be(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_condition(text)
    assert says in str(error.value)


def test_all_conditions_must_hold() -> None:
    conditions = [parse_condition("host=a*"), parse_condition("error=http_*")]
    assert meets(letter(), conditions)
    assert meets(letter(), [])
    assert not meets(letter(host="b.example"), conditions)
    assert not meets(letter(failure=BROKEN), conditions)


def test_groups_count_and_show_their_newest() -> None:
    groups = Groups(["error", "line"])
    groups.add(letter(1, died=5.0, failure=BROKEN))
    groups.add(letter(2, died=9.0))
    groups.add(letter(3, died=7.0, failure=BROKEN))
    groups.add(letter(4, died=6.0, failure=BROKEN))
    assert groups.largest(10) == [
        Group(("callback/KeyError", "shop.py:42"), 3, 7.0, "id3", "http://a.example/page/3?x=[1]", "'price'", BROKEN),
        Group(("http_503", ""), 1, 9.0, "id2", "http://a.example/page/2?x=[1]", "no", letter(2).failure),
    ]
    assert len(groups.largest(1)) == 1


letters = st.lists(
    st.builds(letter, st.integers(0, 10**6), st.sampled_from("abc"), died=st.floats(0, 1e9)),
    unique_by=lambda one: one.id,
)


@given(letters, st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
def test_every_letter_is_in_one_group(given_letters: list[DeadLetter], by: list[str]) -> None:
    groups = Groups(by)
    for one in given_letters:
        groups.add(one)
    found = groups.largest(10_000)
    assert sum(group.count for group in found) == len(given_letters)
    assert len({group.values for group in found}) == len(found)
    assert [group.count for group in found] == sorted((group.count for group in found), reverse=True)


@given(letters, st.integers(1, 5))
async def test_the_newest_of_a_stream(given_letters: list[DeadLetter], limit: int) -> None:
    async def stream() -> AsyncIterator[DeadLetter]:
        for one in given_letters:
            yield one

    expected = sorted(given_letters, key=lambda one: (one.died, one.id), reverse=True)[:limit]
    assert await newest(stream(), limit) == expected
