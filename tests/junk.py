"""Bytes as they may lie in a queue, and what they are.

`REQUEST` can be visited, also with fields that are not known; `LATER` is a message of a version that is not known, and
is left to others; `JUNK` goes to the dead letters. Where `has_head`, scripts can read its host, its counts and its
priority, and hand it out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

REQUEST, LATER, JUNK = "request", "later", "junk"

HOST = "a.example"
URL = f"http://{HOST}/x"


class Case(NamedTuple):
    """One kind of bytes."""

    message: bytes
    verdict: str
    has_head: bool


def message(
    version: object = 1,
    delivery: object = 0,
    attempt: object = 0,
    crashes: object = 0,
    priority: object = 0,
    url: str = URL,
    rest: str = ',0,"site"',
) -> bytes:
    """A message with these words at its places."""
    return f'[{version},{delivery},{attempt},{crashes},{priority},"{url}"{rest}]'.encode()


def _with_head(verdict: str, **cases: bytes) -> dict[str, Case]:
    return {name: Case(case, verdict, True) for name, case in cases.items()}


def _without(**cases: bytes) -> dict[str, Case]:
    return {name: Case(case, JUNK, False) for name, case in cases.items()}


LARGE = 10**14

CASES = {
    **_with_head(
        REQUEST,
        plain=message(),
        short=message(rest=""),
        largest_counts=message(1, LARGE - 1, LARGE - 1, LARGE - 1, 1000),
        lowest_priority=message(priority=-1000),
        blanks_behind_the_head=message(rest=' , 0 , "site" , { } ') + b"\n",
        backslash=message(url="http://a.example/?a\\\\b"),
        escaped_slash=message(url="http://a.example:80\\u002fa"),
        escaped_letter=message(url="http://a.example/\\u0061"),
        port=message(url="https://a.example:8080/"),
        deepest=message(rest=f',{LARGE - 1},"site"'),
        nothing_added=message(rest=',0,"",{},{}'),
        unknown_field=message(rest=',0,"site",{},{"new":1}'),
        unknown_fields=message(rest=',0,"site",{"meta":{"a":1}},{"n":[1.50,{"x":null}],"url":"","meta":"ä"}'),
        arguments_of_a_callback=message(2, rest=',0,"site",{},{"cb_kwargs":{"a":[1]}}'),
        version_of_these_arguments_without_them=message(2),
        item_that_waits_for_its_files=message(3, rest=',0,"site",{},{"media":{"item":"{}"}}'),
        unknown_place=message(rest=',0,"",{},{"new":1},[7]'),
    ),
    "ipv6": Case(message(url="http://[2001:db8::1]:80/"), REQUEST, True),
    **_with_head(
        LATER,
        version_4=message(4),
        new_fields=message(7, rest=',0,"",{"new":1},[7]'),
        field_that_must_be_known=message(4, rest=',0,"site",{},{"new":1}'),
        latest_version=message(LARGE - 1, rest=',0,"site",{},{"new":1}'),
        not_even_json_behind_the_head=message(4, rest=":\xff"),
        bytes_behind_the_head=b'[4,0,0,0,0,"http://a.example/"' + b"\xff\xfe",
    ),
    **_with_head(
        JUNK,
        text_that_is_no_utf8=b'[1,0,0,0,0,"http://a.example/x",0,"si\xffte"]',
        key_that_is_no_utf8=b'[1,0,0,0,0,"http://a.example/x",0,"",{"meta":{"\xff":1}}]',
        url_that_is_no_utf8=b'[1,0,0,0,0,"http://a.example/\xff"]',
        surrogate=message(rest=',0,"\\ud800"'),
        cut=message(rest=',0,"",{"meta":'),
        trailing=message() + b"x",
        wrong_type=message(rest=',"deep"'),
        true_as_depth=message(rest=",true"),
        negative_depth=message(rest=",-1"),
        depth_too_large=message(rest=f",{LARGE}"),
        depth_of_400_digits=message(rest="," + "9" * 400),
        fraction=message(rest=",0.5"),
        null=message(rest=",null"),
        unknown_name_in_the_closed_place=message(rest=',0,"",{"exec":"rm"}'),
        added_that_is_no_object=message(rest=',0,"",{},[7]'),
        unknown_field_that_is_no_utf8=b'[1,0,0,0,0,"http://a.example/x",0,"",{},{"new":"\xff"}]',
        unknown_name_that_is_no_utf8=b'[1,0,0,0,0,"http://a.example/x",0,"",{},{"\xff":1}]',
        unknown_field_nested=message(rest=',0,"",{},{"new":' + "[" * 100_000),
        unknown_field_cut=message(rest=',0,"",{},{"new"'),
        body_that_is_no_base64=message(rest=',0,"",{"body":"&&&"}'),
        arguments_that_are_no_object=message(2, rest=',0,"",{},{"cb_kwargs":[1]}'),
        redirects_too_many=message(rest=f',0,"",{{"redirects":{LARGE}}}'),
        number_that_is_none=message(rest=',0,"",{"meta":{"n":1e999}}'),
        nested=message(rest=',0,"",{"meta":{"a":' + "[" * 100_000),
        too_large=message(rest=',0,"",{"meta":{"a":"' + "x" * 1_000_000 + '"}}'),
        number_of_5000_digits=message(rest=',0,"",{"meta":{"a":' + "9" * 5000 + "}}"),
        not_canonical=message(url="http://a.example/ x"),
        quote_in_the_url=message(url='http://a.example/\\"'),
        escaped_quote=message(url="http://a.example/\\u0022"),
        no_path=message(url="http://a.example:80?x"),
        url_too_long=message(url=f"http://a.example/{'x' * 9000}"),
    ),
    **_without(
        empty=b"",
        pickle=b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
        no_utf8=b"\xff\xfe",
        zeros=b"\x00" * 50,
        brackets=b"[" * 5000,
        mapping=b'{"url":"http://a.example/x"}',
        two_places=b"[1,0]",
        blank_before=b" " + message(),
        blank_within=b'[1, 0,0,0,0,"http://a.example/x"]',
        byte_order_mark=b"\xef\xbb\xbf" + message(),
        negative_count=message(delivery=-1),
        fraction_as_count=message(attempt=0.5),
        exponent=message(crashes="1e2"),
        text_as_count=message(delivery='"0"'),
        null_as_count=message(attempt="null"),
        count_too_large=message(delivery=LARGE),
        attempts_too_large=message(attempt=LARGE),
        crashes_too_large=message(crashes=LARGE),
        count_of_400_digits=message(attempt="9" * 400),
        version_of_400_digits=message("9" * 400),
        version_0=message(0),
        leading_zero=message(delivery="00"),
        later_version_with_a_leading_zero=message("02"),
        later_version_with_a_large_count=message(4, delivery=LARGE),
        priority_too_high=message(priority=1001),
        priority_too_low=message(priority=-1001),
        priority_minus_nothing=message(priority="-0"),
        priority_with_a_leading_zero=message(priority="007"),
        priority_of_400_digits=message(priority="9" * 400),
        file=message(url="file:///etc/passwd"),
        ftp=message(url="ftp://a.example/x"),
        no_host=message(url="http:///x"),
        only_a_port=message(url="http://:80/x"),
        host_alone=message(url="http://a.example"),
        query_behind_the_host=message(url="http://a.example?x"),
        open_bracket=message(url="http://[x/y]"),
        empty_brackets=message(url="http://[]/"),
        upper_case=message(url="http://A.example/"),
        user=message(url="http://me@a.example/"),
        escape_in_the_host=message(url="http://a\\u002eexample/"),
        host_that_is_no_ascii=b'[1,0,0,0,0,"http://a.ex\xc3\xa4mple/"]',
        escaped_colon=message(url="http\\u003a//a.example/"),
        no_quote=b"[1,0,0,0,0,http://a.example/x]",
        open_quote=b'[3,0,0,0,0,"http://a.example/',
    ),
}


def mutants(chance: random.Random, count: int, host: str) -> Iterator[bytes]:
    """So many of all kinds: random bytes, valid messages with some bytes flipped, the cases above for that host."""
    cases = [
        case.message.replace(HOST.encode(), host.encode()) for case in CASES.values() if len(case.message) < 10_000
    ]
    for _ in range(count):
        kind = chance.random()
        if kind < 0.1:
            yield chance.randbytes(chance.randrange(200))
        elif kind < 0.3:
            yield chance.choice(cases)
        elif kind < 0.5:
            yield _grown(chance, host)
        else:
            yield _flipped(chance, chance.choice([*cases, _grown(chance, host)]))


def _grown(chance: random.Random, host: str) -> bytes:
    """A message of another version or with unknown fields, as a later version of the crawler may write it."""
    values = ("1", "-0.5", '"x"', "null", "[1,[2]]", '{"a":{}}', "1e999", '"\\ud800"', "tru")
    fields = ",".join(f'"new{number}":{chance.choice(values)}' for number in range(chance.randrange(4)))
    rest = f',{chance.randrange(9)},"site",{{}},{{{fields}}}{chance.choice(("", ",7", "]"))}'
    version = chance.choice((0, 1, 1, 1, 2, 7, LARGE - 1, LARGE))
    return message(version, chance.randrange(3), chance.randrange(3), url=f"http://{host}/x", rest=rest)


def _flipped(chance: random.Random, message: bytes) -> bytes:
    changed = bytearray(message)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0 if place < len(changed):
                changed[place] ^= 1 << chance.randrange(8)
            case 1 if place < len(changed):
                changed[place] = chance.choice(b'0123456789-.,:"\\[]{}/ \xff\x00')
            case 2:
                changed[place:place] = chance.choice((b"9" * 400, b"\xff", b"null", b"1e9", b'"', b"[" * 2000))
            case _:
                del changed[place : place + chance.randrange(1, 20)]
    return bytes(changed)
