"""The URL of a broker is read as people write it, or refused in words that never show the password."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from crawler.amqp.address import Address, is_amqp, read
from crawler.errors import ConfigError


class Words(Struct, frozen=True):
    """What a door may be told."""

    queue: str
    prefetch: Annotated[int, Meta(ge=1)] = 1000
    declare: Literal["quorum", "classic", "no"] = "no"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://h?queue=q", Address("amqp", (("h", 5672),))),
        ("amqps://h/?queue=q", Address("amqps", (("h", 5671),))),
        ("amqp://me:p%2Fw@h:1/v?queue=q", Address("amqp", (("h", 1),), "me", "p/w", "v")),
        ("amqp://me:p@ss@h1,h2:2/%2F?queue=q", Address("amqp", (("h1", 5672), ("h2", 2)), "me", "p@ss", "/")),
        ("amqp://[::1]:7,[::2]/a%2Fb?queue=q", Address("amqp", (("::1", 7), ("::2", 5672)), vhost="a/b")),
        ("amqp://h//?queue=q", Address("amqp", (("h", 5672),))),
    ],
)
def test_a_url(url: str, address: Address) -> None:
    assert read(url, Words) == (address, Words("q"))


@pytest.mark.parametrize(("login", "password"), [("me@", "setting"), ("me:own@", "own"), ("me:@", ""), ("", "guest")])
def test_a_user_without_a_password_has_that_of_the_setting(login: str, password: str) -> None:
    address, _ = read(f"amqp://{login}h/?queue=q", Words, "setting")
    assert address.password == password


def test_the_words_of_a_query() -> None:
    _, words = read("amqp://h/?queue=a%20b&prefetch=5&declare=quorum", Words)
    assert words == Words("a b", 5, "quorum")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://u:secret@h/", "queue is missing; write ?queue=NAME"),
        ("amqp://u:secret@h/?queue=q&prefech=1", "unknown word 'prefech'; did you mean prefetch?"),
        ("amqp://u:secret@h/?queue=q&ssl=1", "unknown word 'ssl'; there are queue, prefetch, declare"),
        ("amqp://u:secret@h/?queue=q&prefetch=0", "prefetch: expected a whole number >= 1"),
        ("amqp://u:secret@h/?queue=q&prefetch=x", "prefetch: expected a whole number, got text"),
        ("amqp://u:secret@h/?queue=q&declare=yes", "declare: invalid enum value 'yes'"),
        ("amqp://u:secret@h/?queue=q&queue=r", "a word is given twice"),
        ("amqp://u:secret@h:x/?queue=q", "'h:x' is not a host"),
        ("amqp://u:secret@h:70000/?queue=q", "'h:70000' is not a host"),
        ("amqp://u:secret@h1,/?queue=q", "'' is not a host"),
        ("amqp://u:secret@h/a/b?queue=q", "one vhost"),
        ("amqp://u:secret@h/a?queue=q#x", "one vhost"),
        ("http://u:secret@h/", "write amqp://"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(url, Words)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_for_people() -> None:
    address, _ = read("amqps://me:secret@a,b:1/v?queue=q", Words)
    assert address.url == "amqps://me@a:5671,b:1/v"
    assert read("amqp://h?queue=q", Words)[0].url == "amqp://h:5672/"


def test_is_amqp() -> None:
    assert is_amqp("AMQPS://x")
    assert not is_amqp("redis://x")
    assert not is_amqp("amqp:/x")
