"""Which names stand for credentials, how they are shown, and whose they are."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from crawler.errors import ConfigError
from crawler.frontier import message
from crawler.model import Request
from crawler.runtime.credentials import MASK, authorizations, is_secret
from crawler.runtime.safe_text import json_line, masked, shown, without_password

SECRETS = (
    *("Authorization", "proxy-authorization", "COOKIE", "Set-Cookie", "X-Api-Key", "api_key", "apikey", "X-Auth-Token"),
    *("X-Auth", "PRIVATE-TOKEN", "x-csrf-token", "X-Amz-Security-Token", "Ocp-Apim-Subscription-Key", "HTTP_AUTH"),
    *("password", "accessToken", "client_secret", "sessionid", "cookies"),
)
PLAIN = (
    *("accept", "accept-language", "author", "content-type", "etag", "idempotency-key", "keywords", "referer"),
    *("sec-websocket-key", "x-requested-with", "x-author", "AUTOTHROTTLE_ENABLED", "KEY_PREFIX", "tokens_left"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_names_of_credentials(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", PLAIN)
def test_other_names(name: str) -> None:
    assert not is_secret(name)


REQUEST = Request(
    "http://a.example/",
    headers={"Authorization": "Basic bWU6Z2VoZWlt", "cookie": 'sid="geheim"; b=geheim', "accept": "text/html"},
    meta={"token": "geheim", "page": 2, "login": {"password": "geheim"}},
    body=b"user=me&password=geheim",
)
NESTED = json.dumps({"message": json.dumps({"cookie": "geheim"})})


@pytest.mark.parametrize(
    "text",
    [
        message.encode(REQUEST).decode(),
        repr(message.encode(REQUEST)),
        repr(REQUEST),
        repr([(b"Cookie", b"geheim")]),
        NESTED,
        "Login(user='me', password='geheim', body=b'geheim')",
        "headers were {'X-Api-Key': 'geheim",  # cut off
        "GET / HTTP/1.1\r\nAuthorization: Digest a, b=geheim\r\nCookie: a=1; b=geheim\r\nHost: a.example",
        "got Authorization='Basic bWU6Z2VoZWlt'",
        "no such login: Bearer eyJhbGciOiJgeheim",
        "ValueError: http://me:geheim@a.example/ is wrong",
    ],
)
def test_no_text_shows_a_credential(text: str) -> None:
    for safe in (without_password(text), shown(text)):
        assert MASK in safe
        assert "geheim" not in safe
        assert "bWU6" not in safe


def test_what_is_no_credential_stays() -> None:
    safe = without_password(message.encode(REQUEST).decode())
    assert '"accept":"text/html"' in safe
    assert '"page":2' in safe
    assert json.loads(safe)[5] == "http://a.example/"


@pytest.mark.parametrize(
    "text",
    [
        "http_401: 401 Unauthorized",
        "KeyError: 'token'",
        "unexpected token: <",
        "basic authentication is not enough",
        "the body is larger than 100 bytes",
        'HTTP_AUTH = {"https://a.example": "user:password"}',
        "DEFAULT_REQUEST_HEADERS has cookie, which every host would get",
        "author: me, keywords: a, b",
    ],
)
def test_prose_is_left_alone(text: str) -> None:
    assert without_password(text) == text


def test_data_is_shown_without_what_stands_behind_secret_keys() -> None:
    data: dict[str, Any] = {
        "request": {"headers": dict(REQUEST.headers), "body": "Z2VoZWlt", "meta": dict(REQUEST.meta)},
        "counters": {"dropped/no_token": 3},
        "HTTP_AUTH": {"https://a.example": "me:geheim"},
        "failure": {"message": repr(REQUEST)},
        "empty": {"cookie": "", "body": ""},
    }
    safe = masked(data)
    assert "geheim" not in json_line(data)
    assert "Z2VoZWlt" not in json_line(data)
    assert safe["request"]["headers"]["accept"] == "text/html"
    assert safe["request"]["meta"]["page"] == 2
    assert safe["counters"] == {"dropped/no_token": 3}
    assert safe["HTTP_AUTH"] == {"https://a.example": MASK}
    assert safe["empty"] == {"cookie": "", "body": ""}


@pytest.mark.parametrize("piece", ['"cookie":"', "\\", '"', "token ", "basic ", "x-", "'cookie' : ", "cookie"])
def test_no_text_takes_long(piece: str) -> None:
    began = time.process_time()
    without_password(piece * 20_000)
    assert time.process_time() - began < 5  # a text of that size takes some ms, or minutes when it is quadratic


# ---------------------------------------------------------------------------------------------------------
# HTTP_AUTH


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("HTTPS://A.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:8080", "http://a.example:8080"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://[::1]:81", "http://[::1]:81"),
    ],
)
def test_a_login_belongs_to_an_origin(given: str, origin: str) -> None:
    assert authorizations({given: "me:x"}) == {origin: "Basic bWU6eA=="}


@pytest.mark.parametrize(
    ("login", "value"),
    [
        ("Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 §2
        ("test:123\u00a3", "Basic dGVzdDoxMjPCow=="),  # §2.1
        ("me:a:b", "Basic bWU6YTpi"),
        (":", "Basic Og=="),
    ],
)
def test_a_login_is_sent_as_rfc_7617_says(login: str, value: str) -> None:
    assert authorizations({"http://a.example": login}) == {"http://a.example": value}


@pytest.mark.parametrize(
    ("given", "login", "why"),
    [
        ("a.example", "me:geheim", "HTTP_AUTH: 'a.example': no scheme; write https://a.example"),
        ("ftp://a.example", "me:geheim", "only http and https"),
        ("", "me:geheim", "HTTP_AUTH: '': an empty URL"),
        ("http://a.example/x", "me:geheim", "write http://a.example, which stands for all its paths"),
        ("http://a.example?", "me:geheim", "is more than an origin"),
        ("http://a.example/#x", "me:geheim", "is more than an origin"),
        ("http://me:geheim@a.example", "me:geheim", "the origin http://a.example holds a user name"),
        ("http://a.example", "geheim", "the login for http://a.example has no colon"),
        ("http://a.example", "me:geheim\n", "holds a control character"),
        ("http://a.example", "me:geheim\ud800", "holds a control character"),
    ],
)
def test_what_is_wrong_is_named_without_the_password(given: str, login: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        authorizations({given: login})
    assert why in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_two_logins_for_one_origin() -> None:
    with pytest.raises(ConfigError, match=r"two logins for https://a\.example;"):
        authorizations({"https://a.example": "me:x", "https://a.example:443/": "me:y"})
