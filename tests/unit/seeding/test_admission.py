"""Seeds that are no single URL are refused, because what would be asked for is none of what they say."""

from __future__ import annotations

import pytest

from crawler.fetch.guard import AddressGuard
from crawler.frontier.message import check
from crawler.seeding.admission import Admission, NotAdmitted

ADMISSION = Admission(AddressGuard(), check, "site")


@pytest.mark.parametrize(
    "line", ["http://a.example/ http://b.example/", "http://a.example/, HTTPS://b.example/", "http://a.example/\ttitle"]
)
def test_a_row_of_a_table_is_no_seed(line: str) -> None:
    with pytest.raises(NotAdmitted, match="more than a URL: give one on each line"):
        ADMISSION.admit(line)


def test_a_character_that_may_stand_for_bytes_that_nobody_could_read_is_a_seed_where_somebody_wrote_it() -> None:
    assert ADMISSION.admit("http://a.example/\ufffd").url == "http://a.example/%EF%BF%BD"


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("\thttp://a.example/a b\t", "http://a.example/a%20b"),
        ("http://a.example/?to=http://b.example/", "http://a.example/?to=http://b.example/"),
    ],
)
def test_white_space_around_a_seed_and_blanks_in_it_are_mended(line: str, url: str) -> None:
    assert ADMISSION.admit(line).url == url
