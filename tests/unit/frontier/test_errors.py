"""Errors of the queue server's library, told to a person."""

import pytest
from redis.exceptions import AuthenticationError, ConnectionError

from crawler.errors import ConfigError
from crawler.frontier.redis.errors import errors


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ("redis://host:6379/0", "requires a password"),
        ("redis://***@host:6379/0", "requires a password"),
        ("redis://:***@host:6379/0", "rejected the user name or password"),
    ],
)
@pytest.mark.parametrize("error", [AuthenticationError("HELLO must be called"), ConnectionError("NOAUTH …")])
def test_a_missing_password_and_a_wrong_one_are_told_apart(shown: str, why: str, error: Exception) -> None:
    with pytest.raises(ConfigError, match=why), errors(shown):
        raise error
