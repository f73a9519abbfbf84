"""What becomes of a request: read, redirect, retry, dead."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import policy
from crawler.errors import FetchError, Refused
from crawler.model import Dead, Outcome, Request, Retry
from crawler.policy import DAY, RetryPolicy, judge, judge_error, pause, redirect, retry_after
from crawler.response import Response

URL = "http://shop.example/page"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
RETRY = RetryPolicy()


def response(status: int, request: Request | None = None, /, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = request or Request(URL)
    return Response(request.url, status=status, headers=named, request=request)


def outcome(
    status: int, attempt: int = 0, retry: RetryPolicy = RETRY, chance: float = 0.5, /, **headers: str
) -> Outcome | None:
    return judge(response(status, **headers), attempt, retry, chance=chance, now=NOW)


# --- statuses


@pytest.mark.parametrize("status", [200, 201, 203, 204, 206, 299])
def test_a_good_status_goes_to_the_spider(status: int) -> None:
    assert outcome(status) is None


@pytest.mark.parametrize("status", [101, 300, 304, 305, 400, 401, 403, 404, 410, 451, 501, 505, 599, 999])
def test_a_permanent_status_is_dead_at_once(status: int) -> None:
    dead = outcome(status)
    assert isinstance(dead, Dead)
    assert (dead.failure.kind, dead.failure.status) == (f"http_{status}", status)
    assert dead.failure.message.startswith(f"{URL}: ")


@pytest.mark.parametrize("status", sorted(RETRY.retry_http_codes))
def test_a_transient_status_is_tried_again_until_the_tries_are_used_up(status: int) -> None:
    assert isinstance(outcome(status, 0), Retry)
    assert isinstance(outcome(status, 1), Retry)
    dead = outcome(status, 2)
    assert isinstance(dead, Dead)
    assert dead.failure.kind == f"http_{status}"


@pytest.mark.parametrize(
    ("meta", "status", "attempt", "becomes"),
    [
        ({"handle_httpstatus_list": [404]}, 404, 0, None),
        ({"handle_httpstatus_list": [404]}, 403, 0, Dead),
        ({"handle_httpstatus_all": True}, 403, 0, None),
        ({"handle_httpstatus_list": [503]}, 503, 1, Retry),
        ({"handle_httpstatus_list": [503]}, 503, 2, None),
        ({"handle_httpstatus_list": [503], "dont_retry": True}, 503, 0, None),
        ({"dont_retry": True}, 503, 0, Dead),
        ({"dont_retry": False, "max_retry_times": 0}, 503, 0, Dead),
        ({"max_retry_times": 5}, 503, 4, Retry),
        ({"dont_redirect": True}, 302, 0, Dead),
        ({"dont_redirect": True, "handle_httpstatus_list": [302]}, 302, 0, None),
        ({"max_retry_times": None, "handle_httpstatus_list": None, "own": 1}, 503, 1, Retry),
    ],
)
def test_a_request_says_in_its_meta_what_is_tried_again_and_what_is_read(
    meta: dict[str, Any], status: int, attempt: int, becomes: type[Outcome] | None
) -> None:
    retry = policy.for_request(RETRY, meta)
    assert type(outcome(status, attempt, retry)) is (becomes or type(None))


@pytest.mark.parametrize(
    ("meta", "followed"),
    [
        ({}, True),
        ({"dont_redirect": True}, False),
        ({"handle_httpstatus_list": [302]}, False),
        ({"handle_httpstatus_list": [404]}, True),
        ({"handle_httpstatus_all": True}, False),
    ],
)
def test_a_request_says_whether_its_redirects_are_followed(meta: dict[str, Any], followed: bool) -> None:
    retry = policy.for_request(RETRY, meta)
    assert retry.follows(302) is followed
    assert not retry.follows(200)
    assert (retry.metarefresh_maxdelay < 0) is bool(meta.get("dont_redirect"))


def test_the_codes_to_retry_and_the_tries_are_settings() -> None:
    policy = RetryPolicy(retry_times=0, retry_http_codes=frozenset({404}))
    assert isinstance(outcome(404, 0, policy), Dead)
    assert isinstance(outcome(404, 0, RetryPolicy(retry_http_codes=frozenset({404}))), Retry)
    assert isinstance(outcome(503, 0, policy), Dead)


def test_delays_double_with_jitter_up_to_the_longest() -> None:
    policy = RetryPolicy(retry_times=100, retry_delay=2.0, retry_max_delay=60.0)

    def delay(attempt: int, chance: float) -> float:
        retry = outcome(500, attempt, policy, chance)
        assert isinstance(retry, Retry)
        return retry.delay

    assert [delay(attempt, 0.5) for attempt in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    assert (delay(0, 0.0), delay(0, 1.0)) == (1.5, 2.5)
    assert delay(99, 1.0) == 60


@pytest.mark.parametrize("kind", ["dns", "connect", "timeout", "reset", "truncated"])
def test_a_transient_error_is_tried_again(kind: str) -> None:
    error = FetchError(kind, f"{URL}: broken", transient=True)
    retry = judge_error(error, 1, RETRY, chance=0.5)
    assert isinstance(retry, Retry)
    assert retry.delay == 2.0
    dead = judge_error(error, 2, RETRY, chance=0.5)
    assert isinstance(dead, Dead)
    assert (dead.failure.kind, dead.failure.message, dead.failure.status) == (kind, f"{URL}: broken", None)


@pytest.mark.parametrize("error", [FetchError("tls", "expired", transient=False), Refused("a private address")])
def test_a_permanent_error_is_dead_at_once(error: FetchError) -> None:
    dead = judge_error(error, 0, RETRY, chance=0.5)
    assert isinstance(dead, Dead)
    assert dead.failure.kind == error.kind


# --- Retry-After


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("86400", DAY),
        ("31536000", DAY),
        ("9" * 200, DAY),
        (date(90), 90.0),
        (date(-90), 0.0),
        (date(400 * DAY), DAY),
        ("Sunday, 22-Nov-26 12:01:00 GMT", 60.0),
        ("Sun Nov 22 12:01:00 2026", 60.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("12,", None),
        ("inf", None),
        ("nan", None),
        ("٣", None),
        ("Sun, 99 Nov 2026 12:00:00 GMT", None),
        ("120 120", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_bounded_by_a_day(value: str, seconds: float | None) -> None:
    assert retry_after(response(503, retry_after=value), NOW) == seconds


@given(st.text(max_size=60) | st.from_regex(r"(\w{3}, )?\d{0,5} \w{3,9} \d{0,12} [\d:]{0,12}( [+-]?\w{0,9})?"))
def test_garbage_in_retry_after_never_raises(value: str) -> None:
    seconds = retry_after(response(503, retry_after=value), NOW)
    assert seconds is None or 0 <= seconds <= DAY


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry_after": "10"}, 10.0),
        (429, {}, 0.0),
        (429, {"retry_after": "later"}, 0.0),
        (503, {"retry_after": "3600"}, 3600.0),
        (503, {}, 0.0),
        (500, {"retry_after": "10"}, 0.0),
        (200, {"retry_after": "10"}, 0.0),
    ],
)
def test_the_host_is_left_alone_for_as_long_as_it_asks(status: int, headers: dict[str, str], seconds: float) -> None:
    assert pause(response(status, **headers), NOW) == seconds


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (200, "ok"),
        (301, "ok"),
        (404, "ok"),
        (403, "ok"),
        (429, "busy"),
        (503, "busy"),
        (500, ""),
        (502, ""),
        (FetchError("connect", "x", transient=True), "down"),
        (FetchError("timeout", "x", transient=True), "down"),
        (FetchError("dns", "x", transient=True), "down"),
        (FetchError("dns", "no such name", transient=False), ""),
        (FetchError("reset", "x", transient=True), "down"),
        (FetchError("truncated", "x", transient=True), ""),
        (Refused("x"), ""),
    ],
)
def test_how_a_host_is(answer: int | FetchError, word: str) -> None:
    assert policy.health(response(answer) if isinstance(answer, int) else answer) == word


def test_a_retry_waits_at_least_for_the_pause_even_beyond_the_longest_delay() -> None:
    retry = outcome(503, 0, RetryPolicy(retry_max_delay=60.0), retry_after="7200")
    assert isinstance(retry, Retry)
    assert retry.delay == 7200
    soon = outcome(503, 1, retry_after="1")
    assert isinstance(soon, Retry)
    assert soon.delay == 2.0


# --- redirects

FULL = Request(
    "https://shop.example/form",
    callback="parse_item",
    method="POST",
    headers={
        "Authorization": "Bearer 1",
        "COOKIE": "a=1",
        "proxy-authorization": "x",
        "Content-Type": "text/plain",
        "X-Own": "1",
    },
    body=b"data",
    meta={"page": 1},
    priority=7,
    errback="failed",
    delay=3.0,
    depth=4,
    spider="shop",
    redirects=2,
)


def followed(status: int, location: str, request: Request = FULL, retry: RetryPolicy = RETRY) -> Request:
    following = redirect(response(status, request, location=location), retry)
    assert isinstance(following, Request)
    return following


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "post", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "HEAD", "HEAD"),
        (303, "HEAD", "HEAD"),
        (303, "GET", "GET"),
    ],
)
def test_methods_change_as_in_browsers(status: int, method: str, becomes: str) -> None:
    request = Request(FULL.url, method=method, body=b"data", headers={"content-type": "text/plain", "x-own": "1"})
    following = followed(status, "/next", request)
    kept = becomes == method
    assert following.method == becomes
    assert following.body == (b"data" if kept else b"")
    assert dict(following.headers) == (dict(request.headers) if kept else {"x-own": "1"})


def test_a_redirect_keeps_what_the_request_was_for() -> None:
    following = followed(307, "next?x=1#part")
    assert following.url == "https://shop.example/next?x=1"
    assert following.redirects == 3
    assert following.delay == 0.0
    for field in ("callback", "method", "headers", "body", "cb_kwargs", "priority", "errback", "depth", "spider"):
        assert getattr(following, field) == getattr(FULL, field), field
    assert following.meta == {**FULL.meta, "redirect_urls": [FULL.url], "redirect_reasons": [307]}


def test_a_redirect_of_a_redirect_tells_the_whole_way() -> None:
    second = followed(302, "/third", followed(301, "/second"))
    assert second.meta["redirect_urls"] == [FULL.url, "https://shop.example/second"]
    assert second.meta["redirect_reasons"] == [301, 302]


@pytest.mark.parametrize(
    "location",
    [
        "http://shop.example/form",
        "https://shop.example:8443/form",
        "https://www.shop.example/form",
        "//other.example/form",
    ],
)
def test_secrets_stay_behind_when_scheme_host_or_port_change(location: str) -> None:
    assert dict(followed(308, location).headers) == {"Content-Type": "text/plain", "X-Own": "1"}


def test_secrets_stay_with_the_same_origin_however_it_is_spelled() -> None:
    assert followed(308, "HTTPS://user:word@SHOP.example:443/other").headers == FULL.headers
    assert followed(308, "https://user:word@shop.example/other").url == "https://shop.example/other"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "file:///etc/passwd",
        "ftp://shop.example/",
        "data:text/html,x",
        "javascript:1",
        "http://",
        "http://[::1/",
        "http://a b/",
    ],
)
def test_a_location_that_cannot_be_fetched_is_dead(location: str) -> None:
    dead = redirect(response(302, location=location), RETRY)
    assert isinstance(dead, Dead)
    assert (dead.failure.kind, dead.failure.status) == ("redirect", 302)
    assert URL in dead.failure.message


def test_redirects_without_end_are_dead() -> None:
    request = Request(URL)
    for _ in range(RETRY.redirect_max_times):
        request = followed(302, "/again", request)
    dead = redirect(response(302, request, location="/again"), RETRY)
    assert isinstance(dead, Dead)
    assert dead.failure.kind == "redirects"
