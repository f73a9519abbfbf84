"""The URL of the queue server: what cannot be meant is refused, and no part of a password is shown."""

from __future__ import annotations

import pytest

from crawler.errors import ConfigError
from crawler.frontier.redis.address import check, mask


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://[::1]:6379/15",
        "redis://user:p%40ss@host/",
        "redis://:p@ss@host:6379",
        "rediss://:secret@queue.example:6380/0?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/valkey/a@b.sock?db=3",
        "unix:///run/valkey.sock?password=secret",
    ],
)
def test_what_the_library_understands_is_accepted(url: str) -> None:
    check(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://[::1", "cannot read its host and port"),
        ("redis://::1]:6379/0", "cannot read its host and port"),
        ("redis://host:port/0", "cannot read its host and port"),
        ("redis://host:99999/0", "cannot read its host and port"),
        ("redis://host:0/0", "port 0"),
        ("redis://host:6379/x", "'x' is no database"),
        ("redis://host:6379/0/1", "'0/1' is no database"),
        ("redis://host:6379/-1", "'-1' is no database"),
        ("redis://host:6379/?db=x", "'x' is no database"),
        ("redis://host:6379/0?foo=bar", "unknown option 'foo'"),
        ("redis://host:6379/0?decode_responses=1", "unknown option 'decode_responses'"),
        ("redis://host:6379/0#x", "remove what begins with #"),
        ("unix://", "no path of a socket"),
        ("unix:///run/s?foo=1", "unknown option 'foo'"),
    ],
)
def test_what_would_be_ignored_or_fail_later_is_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL") as caught:
        check(url)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa@topsecret#x@127.0.0.1:6379/0",
        "redis://:12/topsecret@127.0.0.1:6379/0",
        "redis://user:topsecret?@127.0.0.1:6379/0",
        "rediss://user:top@topsecret/@host",
        "redis://:topsecret@[::1",
        "redis://:topsecret@host:port",
    ],
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(url)
    assert "topsecret" not in str(caught.value)
    assert "topsecret" not in mask(url)
