"""What an answer to a request for robots.txt means for its host (RFC 9309 §2.3.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import FetchError, Refused
from crawler.parsing.robots_lines import MAX_BYTES
from crawler.robots.answer import (
    ERROR_SECONDS,
    MAX_SECONDS,
    UNREACHABLE_SECONDS,
    RobotsAnswer,
    agent_token,
    verdict_source,
)

RULES = b"User-agent: *\nDisallow: /private\n"


@pytest.mark.parametrize("status", [200, 203, 204, 206])
def test_a_good_answer_is_read(status: int) -> None:
    answer = verdict_source(status, RULES)
    assert (answer.kind, answer.seconds, answer.body) == ("rules", MAX_SECONDS, RULES)
    assert not answer.rules().allowed("http://a.example/private/x", "Example")
    assert answer.rules().allowed("http://a.example/public", "Example")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 451, 499, 300, 301, 302, 304, 308])
def test_an_unavailable_file_allows_everything(status: int) -> None:
    answer = verdict_source(status, RULES)
    assert (answer.kind, answer.seconds, answer.body) == ("allow", MAX_SECONDS, b"")
    assert answer.rules().allowed("http://a.example/private/x", "Example")


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 520, 599, 600, 999, 100, 101, 0])
def test_an_error_forbids_everything_for_minutes(status: int) -> None:
    answer = verdict_source(status, RULES)
    assert (answer.kind, answer.seconds, answer.body) == ("disallow", UNREACHABLE_SECONDS, b"")
    assert not answer.rules().allowed("http://a.example/", "Example")


@pytest.mark.parametrize(
    "error",
    [
        *(FetchError(kind, "", transient=True) for kind in ("dns", "connect", "timeout", "truncated")),
        *(FetchError(kind, "", transient=False) for kind in ("tls", "malformed", "too_large", "decode")),
        Refused(""),
    ],
    ids=lambda error: str(error.kind),
)
def test_no_answer_forbids_everything_for_seconds(error: FetchError) -> None:
    answer = verdict_source(error, RULES)
    assert (answer.kind, answer.seconds, answer.body) == ("disallow", ERROR_SECONDS, b"")
    assert not answer.rules().allowed("http://a.example/", "Example")


def test_an_answer_is_used_for_as_long_as_set_but_never_longer_than_a_day() -> None:
    assert verdict_source(200, RULES, seconds=60.0).seconds == 60.0
    assert verdict_source(404, seconds=60.0).seconds == 60.0
    assert verdict_source(200, RULES, seconds=1e9).seconds == MAX_SECONDS
    assert verdict_source(500, seconds=1e9).seconds == UNREACHABLE_SECONDS


def test_a_host_that_asks_for_longer_is_left_alone_for_longer() -> None:
    assert verdict_source(503, pause=1_000.0).seconds == 1_000.0
    assert verdict_source(429, pause=60.0).seconds == UNREACHABLE_SECONDS
    assert verdict_source(429, pause=1e9).seconds == MAX_SECONDS


@pytest.mark.parametrize(("now", "left"), [(1_000, 60), (1_050, 10), (1_060, 0), (9_999, 0), (0, 60)])
def test_the_time_left_counts_from_the_answer_whatever_a_clock_says(now: float, left: float) -> None:
    assert verdict_source(200, RULES, seconds=60.0, now=1_000.0).left(now) == left


def test_only_the_part_that_is_read_is_shared() -> None:
    """A line that the limit cuts in two must not become a shorter, wider rule."""
    line = b"Disallow: /forbidden\n"
    body = b"User-agent: *\n" + line * (MAX_BYTES // len(line)) + b"Disallow: /" + b"a" * 100
    for cut in range(30):
        answer = verdict_source(200, b"\xef\xbb\xbf" + b"#" * cut + b"\n" + body)
        assert len(answer.body) <= MAX_BYTES + 4
        assert answer.rules().allowed("http://a.example/anything", "Example")
        assert not answer.rules().allowed("http://a.example/forbidden", "Example")


@given(
    st.builds(
        RobotsAnswer,
        kind=st.sampled_from(["rules", "allow", "disallow"]),
        seconds=st.integers(0, 86_400_000).map(lambda milliseconds: milliseconds / 1000),
        body=st.binary(),
        status=st.integers(0, 999),
        asked=st.integers(0, 10**12).map(lambda milliseconds: milliseconds / 1000),
    )
)
def test_an_answer_survives_the_shared_cache(answer: RobotsAnswer) -> None:
    assert RobotsAnswer.decode(answer.encode()) == answer
    assert RobotsAnswer.decode(answer.encode().replace(b"\n", b" what a later version says\n", 1)) == answer


@given(st.binary())
def test_bytes_of_another_version_are_none(data: bytes) -> None:
    decoded = RobotsAnswer.decode(data)
    assert decoded is None or decoded.encode().partition(b"\n")[2] == decoded.body


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"rules", b"rules -1.000 1.000 200\n", b"rules nan 1.000 200\n", b"rules 1.000 1.000 2000\n"),
        *(b"rules 1.000\nUser-agent: *", b"other 1.000 1.000 200\n", b"{}", b"\xff"),
    ],
)
def test_broken_bytes_are_none(data: bytes) -> None:
    assert RobotsAnswer.decode(data) is None


def test_no_answer_holds_for_longer_than_a_day_whatever_the_shared_cache_says() -> None:
    answer = RobotsAnswer.decode(b"disallow 999999999.000 999999999999.000 999\n")
    assert answer is not None
    assert answer.left(1.0) <= MAX_SECONDS


@pytest.mark.parametrize(
    ("user_agent", "token"),
    [
        ("crawler/0.1.0", "crawler"),
        ("ExampleBot/1.0 (+https://example.com/bot)", "ExampleBot"),
        ("Example-Bot_x", "Example-Bot_x"),
        ("Example Bot/2", "Example"),
        ("  Example/2", "Example"),
        ("Mozilla/5.0 (compatible; ExampleBot/2.1; +https://example.com/bot)", "ExampleBot"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla"),
        ("", "*"),
        ("(nobody)", "*"),
    ],
)
def test_the_product_token_is_the_name_of_the_crawler(user_agent: str, token: str) -> None:
    assert agent_token(user_agent) == token
