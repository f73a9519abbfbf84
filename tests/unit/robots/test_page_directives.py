"""Directives of `<meta name=robots>` and `X-Robots-Tag`, in the forms that sites use, and what means nothing to us."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.robots.page_directives import MAX_LENGTH, PageDirectives, names_of, read_directives

NOW = datetime(2024, 7, 1, 12, tzinfo=UTC).timestamp()
NOTHING = PageDirectives()
INDEX = PageDirectives(noindex=True)
FOLLOW = PageDirectives(nofollow=True)
BOTH = PageDirectives(noindex=True, nofollow=True)
EXPIRED = PageDirectives(expired=True)


def read(*lines: str, agent: str = "ourbot") -> PageDirectives:
    return read_directives(lines, names_of(agent), NOW)


@pytest.mark.parametrize(
    ("line", "directives"),
    [
        ("noindex", INDEX),
        ("nofollow", FOLLOW),
        ("none", BOTH),
        ("noindex,nofollow", BOTH),
        ("NoIndex , NOFOLLOW", BOTH),
        ("\tnoindex\t", INDEX),
        ("noindex, follow", INDEX),
        ("index, nofollow", FOLLOW),
        ("all", NOTHING),
        ("index, follow", NOTHING),
        ("all, noindex", INDEX),
        ("noindex, index", INDEX),  # the more restrictive holds, in any order
        ("nofollow, noindex, all, follow", BOTH),
        ("noarchive, nosnippet, noimageindex, notranslate, nocache, nositelinkssearchbox", NOTHING),
        ("max-snippet:-1, max-image-preview:large, max-video-preview:-1", NOTHING),
        ("max-image-preview: none", NOTHING),  # `none` is about pictures here
        ("max-image-preview:none, noindex", INDEX),
        ("max-snippet: 0, nofollow", FOLLOW),
        ("noindex nofollow", BOTH),  # commas are often forgotten
        ("noindex; nofollow", BOTH),
        ("", NOTHING),
        (" , ,, ", NOTHING),
        (":", NOTHING),
        (": noindex", INDEX),
        ("no index", NOTHING),
        ("noindexing", NOTHING),
        ("indexifembedded, noindex", INDEX),
        ("noindex\u00a0", INDEX),
        ("n\ud800oindex, nofollow", FOLLOW),
    ],
)
def test_directives(line: str, directives: PageDirectives) -> None:
    assert read(line) == directives


@pytest.mark.parametrize(
    ("lines", "directives"),
    [
        (("ourbot: noindex",), INDEX),
        (("OurBot: noindex, nofollow",), BOTH),
        (("ourbot:none",), BOTH),
        (("ourbot/1.0: noindex",), INDEX),
        (("*: noindex",), INDEX),
        (("robots: nofollow",), FOLLOW),
        (("otherbot: noindex",), NOTHING),
        (("otherbot: noindex, nofollow",), NOTHING),  # a name holds to the next one
        (("otherbot: noindex, ourbot: nofollow",), FOLLOW),
        (("ourbot: nofollow, otherbot: noindex",), FOLLOW),
        (("nofollow, otherbot: noindex",), FOLLOW),
        (("otherbot: noindex", "nofollow"), FOLLOW),  # or to the end of its line
        (("otherbot: noindex", "ourbot: nofollow", "noindex"), BOTH),
        (("noindex", "ourbot: all"), INDEX),  # a line of our own takes nothing back
        (("noindex", "ourbot: nofollow"), BOTH),
        (("ourbot: max-image-preview: none",), NOTHING),
        (("ourbot-news: noindex", "myourbot: noindex"), NOTHING),
        (("ourbot: otherbot: noindex",), NOTHING),  # garbage, but not ours
    ],
)
def test_directives_for_one_robot_hold_for_it_alone(lines: tuple[str, ...], directives: PageDirectives) -> None:
    assert read(*lines) == directives


def test_a_crawler_without_a_name_is_meant_by_what_is_said_to_all() -> None:
    assert read("otherbot: noindex", "nofollow", agent="*") == FOLLOW


PAST = [
    "25 Jun 2010 15:00:00 PST",
    "25-Jun-2010 15:00:00 EST",
    "Friday, 25-Jun-10 15:00:00 UTC",
    "Fri, 25 Jun 2010 15:00:00 GMT",
    "Fri, 25 Jun 2010 15:00:00 +0200",
    "Friday, June 25, 2010",
    "Jun 25, 2010 15:00:00",
    "25 Jun 2010",
    "25-Jun-2010",
    "2010-06-25",
    "2010-06-25T15:00:00Z",
    "2010-06-25T15:00:00+02:00",
    "2010-06-25 15:00:00",
    "20100625",
    "1 Jul 2024 11:59:59 GMT",
    "1 Jul 2024 13:59:59 +0200",
]


@pytest.mark.parametrize("date", PAST)
@pytest.mark.parametrize("form", ["unavailable_after: {}", "Unavailable_After:{}", "ourbot: unavailable_after: {}"])
def test_a_page_whose_time_has_passed(date: str, form: str) -> None:
    assert read(form.format(date)) == EXPIRED


@pytest.mark.parametrize("date", PAST)
def test_what_stands_around_a_date_is_read_as_ever(date: str) -> None:
    assert read(f"nofollow, unavailable_after: {date}, noindex") == PageDirectives(True, True, True)
    assert read(f"unavailable_after: {date}, otherbot: noindex") == EXPIRED
    assert read(f"otherbot: unavailable_after: {date}, nofollow") == NOTHING


@pytest.mark.parametrize(
    "date",
    [
        "25 Jun 2999 15:00:00 PST",
        "Monday, 25-Jun-68 15:00:00 UTC",
        "2999-01-01",
        "9999-12-31T23:59:59Z",
        "Jul 2, 2024",
        "1 Jul 2024 12:00:01 GMT",
        "",
        "soon",
        "25/06/2010",
        "32 Jun 2010 15:00:00",
        "Friday",
        "99999999999999999999 Jun 2010 00:00:00",
    ],
)
def test_a_date_to_come_or_none_at_all_means_nothing(date: str) -> None:
    assert read(f"unavailable_after: {date}") == NOTHING
    assert read(f"unavailable_after: {date}, noindex").noindex


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4), st.text(max_size=20))
@example([f"unavailable_after: {'9' * 5_000}", "unavailable_after: 2024-W01-1\0"], "\ud800")
@example(["unavailable_after: 0001-01-01T00:00:00+23:59", "unavailable_after: 9999-12-31 23:59:59-23:59"], "")
@example(["unavailable_after: 25 Jun 2010 15:00:00 +9999999999999999", "unavailable_after: 1 Jan 0"], "")
def test_no_line_raises(lines: list[str], agent: str) -> None:
    assert isinstance(read(*lines, agent=agent), PageDirectives)


_PIECES = [
    "noindex",
    "none",
    ",",
    ";",
    ":",
    " ",
    "\n",
    "unavailable_after:",
    "ourbot:",
    "2010",
    "-",
    "Jun",
    "25",
    "GMT",
]


@given(st.lists(st.sampled_from([*_PIECES, "+9999", "15:00:00", "Friday", "x", "W01", "T"]), max_size=25).map("".join))
def test_no_mixture_raises_and_a_line_of_another_robot_means_nothing(line: str) -> None:
    read(line)
    assert read(f"otherbot: {line.replace('ourbot:', '')}") == NOTHING


def test_long_lines_are_read_to_a_bound() -> None:
    assert read("unavailable_after:," * 200_000 + "noindex") == NOTHING
    assert read("x," * (MAX_LENGTH // 2) + "noindex") == NOTHING
