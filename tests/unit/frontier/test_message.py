"""A request arrives as the spider sent it, or `check` refuses it with a reason; bytes without a message are junk."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import random
from collections import OrderedDict
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from crawler.frontier.message import (
    MAX_BYTES,
    JunkMessage,
    Message,
    again,
    check,
    decode,
    encode,
    ledger_host,
    peek,
)
from crawler.model import Request
from crawler.parsing.charset import clean
from crawler.parsing.json_values import MAX_NESTING
from tests.junk import CASES, HOST, JUNK, LARGE, LATER, REQUEST, Case, message, mutants

URL = "http://a.example/next"


# --- what is read


def verdict(message: bytes) -> str:
    try:
        decode(message)
    except JunkMessage as junk:
        return JUNK if junk.version is None else LATER
    return REQUEST


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bytes_are_a_request_or_left_to_a_later_version_or_junk(case: Case) -> None:
    assert verdict(case.message) == case.verdict
    assert bool(ledger_host(case.message)) == case.has_head


def test_nothing_but_junk_comes_of_other_bytes() -> None:
    for mutant in mutants(random.Random(9), 5_000, HOST):
        if verdict(mutant) != JUNK:
            assert ledger_host(mutant)
            assert ledger_host(again(mutant)) == ledger_host(mutant)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_junk(message: bytes) -> None:
    verdict(message)


def test_a_message_can_be_read_after_any_number_of_deliveries() -> None:
    last = message(delivery=LARGE - 1)
    assert decode(again(last)).delivery == 0
    assert again(last) != last


# --- what grows


@pytest.mark.parametrize(
    ("request_", "nonce", "message"),
    [
        (Request(URL), "", b'[1,0,0,0,0,"http://a.example/next",0,""]'),
        (Request(URL, priority=-7, depth=3, spider="ö"), "", '[1,0,0,0,-7,"http://a.example/next",3,"ö"]'.encode()),
        (
            Request(
                URL,
                "item",
                "POST",
                {"X": "y"},
                b"a=1",
                meta={"k": [1]},
                priority=5,
                dont_filter=True,
                errback="failed",
                delay=9.0,
                depth=2,
                spider="site",
                redirects=1,
            ),
            "w:1",
            b'[1,0,0,0,5,"http://a.example/next",2,"site",{"callback":"item","method":"POST","headers":{"X":"y"},'
            b'"body":"YT0x","meta":{"k":[1]},"dont_filter":true,"errback":"failed","redirects":1,"nonce":"w:1"}]',
        ),
    ],
)
def test_the_first_fields_are_written_as_the_first_workers_read_them(
    request_: Request, nonce: str, message: bytes
) -> None:
    assert encode(request_, nonce) == message


def test_arguments_of_a_callback_are_left_to_workers_that_know_them() -> None:
    assert encode(Request(URL, cb_kwargs={"page": 2})) == (
        b'[2,0,0,0,0,"http://a.example/next",0,"",{},{"cb_kwargs":{"page":2}}]'
    )
    assert encode(Request(URL, meta={"page": 2})).startswith(b"[1,")


GROWN = message(rest=',2,"site",{"meta":{"a":1}},{"new":[1.5,{"x":null}],"url":"ö"}')
"""As a later version may write it."""


def test_unknown_fields_are_kept_byte_for_byte_by_what_returns_a_message() -> None:
    rest = GROWN.removeprefix(b"[1,0,0,0")
    assert again(again(GROWN), failed=1) == b"[1,2,1,0" + rest


def test_unknown_fields_are_kept_by_a_request_that_is_made_from_another() -> None:
    request = decode(GROWN).request
    assert request.unknown == {"new": [1.5, {"x": None}], "url": "ö"}
    assert encode(check(replace(request, url=URL))) == GROWN.replace(b"/x", b"/next", 1)


def test_a_message_without_unknown_fields_has_no_place_for_them() -> None:
    assert decode(GROWN.replace(b'"new"', b'"old"')).request.unknown.keys() == {"old", "url"}
    assert encode(replace(decode(GROWN).request, unknown={})).endswith(b'"meta":{"a":1}}]')


def test_of_a_later_version_the_head_can_be_read() -> None:
    later = message(7, 3, 2, 1, -5, url="http://a.example/\\u0061", rest=":\xff")
    seen = peek(later)
    assert seen.is_later
    assert seen == Message(7, 3, 2, 1, -5, "http://a.example/a")
    assert peek(GROWN) == decode(GROWN)
    assert not peek(GROWN).is_later
    for junk in (b"", message(rest=",-1"), b'[3,0,0,0,0,"http://a.example/\xff"]'):
        with pytest.raises(JunkMessage):
            peek(junk)


# --- what is sent


class Text(str):
    """Shows itself as something else, as the text of some parsers does."""

    def __str__(self) -> str:
        return "other"


class Level(enum.IntEnum):
    """An integer that has a name."""

    HIGH = 3


class Colour(enum.Enum):
    """A name that has a value."""

    RED = "red"


@dataclasses.dataclass
class Plain:
    """Would be written as a mapping."""

    a: int = 1


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ({"body": "loginann"}, {"body": b"loginann"}),  # which happens to be base64
        ({"body": "größe"}, {"body": "größe".encode()}),
        ({"body": "a \ud800 b"}, {"body": "a \ufffd b".encode()}),
        ({"body": None, "headers": None, "meta": None}, {}),
        ({"body": "", "headers": {}, "meta": ()}, {}),
        ({"meta": {"a": (1, (2,))}}, {"meta": {"a": [1, [2]]}}),
        ({"meta": {"n": 2**100, "f": 0.1, "no": None, "yes": True}}, {}),
        ({"meta": {"title": "a \ud800 b", "\udfff": 1}}, {"meta": {"title": "a \ufffd b", "\ufffd": 1}}),
        ({"meta": {"a": Text("b"), Text("c"): Level.HIGH}}, {"meta": {"a": "b", "c": 3}}),
        ({"meta": OrderedDict(a=MappingProxyType({"b": [1]}))}, {"meta": {"a": {"b": [1]}}}),
        ({"meta": {"a": nested(MAX_NESTING - 1)}}, {}),
        ({"headers": {"x-page": "2 \ud800"}}, {"headers": {"x-page": "2 \ufffd"}}),
        ({"headers": MappingProxyType({"x-page": "2"})}, {"headers": {"x-page": "2"}}),
        ({"headers": {b"x-page": [b"2", 3, "\xf6"]}}, {"headers": {"x-page": "2, 3, \xf6"}}),
        ({"headers": [("Cookie", "a=1"), ("cookie", b"b=2")]}, {"headers": {"Cookie": "a=1; b=2"}}),
        (
            {"cb_kwargs": {"a": (1, {"b": None}), Text("c"): "\ud800"}},
            {"cb_kwargs": {"a": [1, {"b": None}], "c": "\ufffd"}},
        ),
        ({"cb_kwargs": None}, {}),
        ({"callback": Text("detail"), "spider": Text("shop")}, {"callback": "detail", "spider": "shop"}),
        ({"url": Text(URL)}, {"url": URL}),
        ({"spider": "bücher"}, {}),
        ({"spider": "a \ud800"}, {"spider": "a \ufffd"}),
        ({"unknown": {"new": (1, 2.5)}}, {"unknown": {"new": [1, 2.5]}}),
        ({"method": "POST", "delay": 3, "priority": -7, "dont_filter": True, "errback": "failed"}, {}),
    ],
)
def test_what_is_sent_arrives(sent: dict[str, Any], arrives: dict[str, Any]) -> None:
    sent = {"url": URL, "method": "POST", "callback": "detail", **sent}
    expected = Request(**{**{name: value for name, value in sent.items() if value}, **arrives})
    checked = check(Request(**sent))
    assert checked == expected
    assert exactly(arrived(checked)) == exactly(checked)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"meta": {"page": b"x"}}, "meta['page'] is bytes b'x', which would not arrive unchanged; write text"),
        ({"meta": {"page": b"x"}}, "value.decode()"),
        ({"meta": {"at": datetime.datetime(2026, 1, 1)}}, "value.isoformat()"),
        ({"meta": {"at": datetime.timedelta(1)}}, "meta['at'] is timedelta"),
        ({"meta": {"seen": {1}}}, "sorted(value)"),
        ({"meta": {"n": float("nan")}}, "meta['n'] is float nan"),
        ({"meta": {"n": float("-inf")}}, "meta['n'] is float -inf"),
        ({"meta": {"n": Decimal("0.5")}}, "str(value)"),
        ({"meta": {"id": UUID(int=1)}}, "str(value)"),
        ({"meta": {"colour": Colour.RED}}, "value.value"),
        ({"meta": {"request": Request(URL)}}, "msgspec.to_builtins(value)"),
        ({"meta": {"plain": Plain()}}, "meta['plain'] is Plain"),
        (
            {"meta": {1: "a"}},
            "meta: the key is int 1, which would not arrive unchanged; write text, such as str(value)",
        ),
        ({"meta": {"a": [{"b": object()}]}}, "meta['a'][0]['b'] is object"),
        ({"meta": {"a": lambda: 1}}, "meta['a'] is function"),
        ({"meta": dict.fromkeys(("\ud800", "\ufffd"))}, "meta is dict"),
        ({"meta": {"a": nested(MAX_NESTING)}}, "nested deeper than 100 levels"),
        ({"meta": {"a": ENDLESS}}, "nested deeper than 100 levels"),
        ({"meta": {"n": 10**5000}}, "digits"),
        ({"meta": [1]}, "meta is list [1]"),
        ({"meta": {"text": "x" * MAX_BYTES}}, "at most"),
        ({"headers": {"Cookie": b"a=\xff"}}, "headers['Cookie'] holds bytes that are not UTF-8"),
        ({"headers": {b"Cook\xffie": "a=b"}}, "headers: a name holds bytes that are not UTF-8"),
        ({"headers": {"Accept": [["a"]]}}, "headers['Accept'] is list"),
        ({"headers": [("a", "b", "c")]}, "headers is list"),
        ({"cb_kwargs": {"at": datetime.datetime(2026, 1, 1)}}, "cb_kwargs['at'] is datetime"),
        ({"cb_kwargs": {1: 2}}, "cb_kwargs: the key is int 1"),
        ({"cb_kwargs": [1]}, "cb_kwargs is list [1]"),
        ({"body": bytearray(b"x")}, "body is bytearray"),
        ({"body": {"a": 1}}, "body is dict"),
        ({"spider": b"shop"}, "spider is bytes b'shop'"),
        ({"callback": print}, "callback is builtin_function_or_method"),
        ({"method": b"GET"}, "method is bytes"),
        ({"dont_filter": "yes"}, "dont_filter is str"),
        ({"depth": "1"}, "depth '1'"),
        ({"depth": -1}, "depth -1"),
        ({"depth": True}, "depth True"),
        ({"redirects": -1}, "redirects -1"),
        ({"redirects": 10**14}, "redirects 100000000000000"),
        ({"priority": True}, "priority True"),
        ({"priority": "5"}, "priority '5'"),
        ({"delay": float("nan")}, "delay nan"),
        ({"url": b"http://a.example/"}, "url of a request is bytes; write text"),
        ({"url": "http://a.example/ x"}, "not a canonical URL"),
        ({"unknown": {"new": b"x"}}, "unknown['new'] is bytes b'x'"),
        ({"unknown": [1]}, "unknown is list [1]"),
    ],
)
def test_what_would_arrive_as_something_else_is_refused_in_words(sent: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"(?s).*") as error:
        check(Request(**{"url": URL, **sent}))
    assert told in str(error.value)


def test_what_was_checked_can_be_changed_by_nobody() -> None:
    meta: dict[str, Any] = {"a": [1], "b": 2}
    flat: dict[str, Any] = {"b": 2}
    for values in (meta, flat):
        checked = check(Request(URL, meta=values))
        values["b"] = object()
        assert arrived(checked) == checked
    meta["a"].append(object())
    assert decode(encode(check(Request(URL, meta={"n": 1})), "a nonce")).request.meta == {"n": 1}


def arrived(request: Request) -> Request:
    """As it is read at the other end; the delay does not travel in the message."""
    return replace(decode(encode(request, "page:1" if request.dont_filter else "")).request, delay=request.delay)


def exactly(value: Any) -> Any:
    """With the types: True, 1 and 1.0 are equal."""
    if isinstance(value, Request):
        return {name: exactly(part) for name, part in msgspec.structs.asdict(value).items()}
    if isinstance(value, dict):
        return dict, {key: exactly(part) for key, part in value.items()}
    if isinstance(value, list):
        return list, [exactly(part) for part in value]
    return type(value), value


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    TEXT.map(Text),
    st.binary(max_size=4),
    st.decimals(),
    st.datetimes(),
    st.uuids(),
    st.just(Level.HIGH),
    st.just(Colour.RED),
    st.just(Plain()),
    st.just(print),
    st.frozensets(st.integers(), max_size=2),
    st.fractions(),
    st.complex_numbers(),
)
VALUES = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(TEXT, st.integers(), st.binary(max_size=2)), inner, max_size=3),
    ),
    max_leaves=6,
)
FIELDS = {
    "callback": st.one_of(st.just("parse"), TEXT, VALUES),
    "method": st.one_of(st.just("GET"), st.just("POST"), VALUES),
    "headers": st.one_of(st.dictionaries(TEXT, TEXT, max_size=3), VALUES),
    "body": st.one_of(st.binary(max_size=20), TEXT, VALUES),
    "meta": st.one_of(st.dictionaries(TEXT, VALUES, max_size=3), VALUES),
    "priority": st.one_of(st.integers(-1001, 1001), VALUES),
    "dont_filter": st.one_of(st.booleans(), VALUES),
    "errback": st.one_of(st.just(""), VALUES),
    "delay": st.one_of(st.just(0.0), VALUES),
    "depth": st.one_of(st.integers(0, 9), VALUES),
    "spider": st.one_of(st.just("site"), VALUES),
    "redirects": st.one_of(st.integers(0, 9), VALUES),
    "unknown": st.one_of(st.dictionaries(TEXT, VALUES, max_size=3), VALUES),
    "url": st.one_of(st.just(URL), st.just("http://a.example/?a\\b"), VALUES),
}


def as_documented(value: Any) -> Any:
    """What `Request` says a value becomes."""
    if isinstance(value, str):
        return clean(str.__str__(value))
    if isinstance(value, (list, tuple)):
        return [as_documented(part) for part in value]
    if isinstance(value, dict):
        return {as_documented(key): as_documented(part) for key, part in value.items()}
    return int(value) if isinstance(value, Level) else value


def expected(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request as they were given to it, but for what its documentation excepts."""
    defaults = msgspec.structs.asdict(Request(URL))
    given = {name: as_documented(value) or defaults[name] for name, value in fields.items()}
    given |= {"delay": fields["delay"]} if "delay" in fields else {}  # a 0 stays an int
    if isinstance(given.get("body"), str):
        given["body"] = given["body"].encode()
    return {**defaults, **given, "method": given.get("method", "GET").upper()}


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({}, optional=FIELDS))
@example({"url": URL, "method": "POST", "body": "loginann"})
@example({"url": URL, "depth": True})
@example({"url": URL, "callback": ""})
@example({"url": URL, "delay": 0})
def test_any_request_arrives_as_it_was_sent_or_is_refused(fields: dict[str, Any]) -> None:
    fields = {"url": URL, **fields}
    try:
        checked = check(Request(**fields))
    except ValueError:
        return
    assert exactly(msgspec.structs.asdict(arrived(checked))) == exactly(expected(fields))
