"""Errors of the queue server's library, told to a person."""

import pytest
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from crawler.errors import ConfigError, FrontierUnavailable
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


@pytest.mark.parametrize(
    "error",
    [
        MovedError("5 10.0.0.2:7000"),
        AskError("5 10.0.0.2:7000"),
        TryAgainError("Multiple keys request during rehashing of slot"),
        ClusterDownError("The cluster is down"),
        MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        ReadOnlyError("You can't write against a read only replica."),
        BusyLoadingError("Redis is loading the dataset in memory"),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"),
        ResponseError("WAIT cannot be used with replica instances."),
        ResponseError("WAITAOF cannot be used with replica instances."),
        ConnectionError("Connection closed by server."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_node_says_while_masters_change_is_waited_out_and_names_the_node(error: RedisError) -> None:
    vars(error)["node"] = "10.0.0.1:7000"
    why = r"redis\+cluster://a,b \(node 10\.0\.0\.1:7000\)"
    with pytest.raises(FrontierUnavailable, match=why), errors("redis+cluster://a,b"):
        raise error


@pytest.mark.parametrize(
    ("shown", "instead"),
    [
        ("redis://h:7000/0", "write redis+cluster://h:7000"),
        ("valkeys://:***@h:7000/0?ssl_cert_reqs=none", "write valkeys+cluster://:***@h:7000"),
        ("unix:///run/s", "write redis+cluster://HOST:PORT"),
    ],
)
def test_the_url_of_one_server_that_is_a_node_is_refused_with_the_url_to_write(shown: str, instead: str) -> None:
    with pytest.raises(ConfigError) as raised, errors(shown):
        raise MovedError("5 10.0.0.2:7000")
    assert str(raised.value).endswith(f"one node of a cluster; {instead}")
