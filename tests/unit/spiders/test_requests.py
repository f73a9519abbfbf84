"""Forms and JSON are sent as Scrapy sends them: each case is made by Scrapy as well, and compared."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import scrapy
from scrapy.http import HtmlResponse
from scrapy.http import JsonRequest as TheirJson

from crawler import FormRequest, JsonRequest, Request, Response

URL = "http://shop.example/login/page?x=1"


def sent(request: Any) -> tuple[Any, ...]:
    """Method, URL, body and the headers that matter, of ours or of theirs."""
    headers = {
        (name.decode() if isinstance(name, bytes) else name).lower(): value[0].decode()
        if isinstance(value, list)
        else value
        for name, value in request.headers.items()
    }
    return request.method, request.url, request.body, headers


def theirs(page: str, encoding: str, **options: Any) -> Any:
    response = HtmlResponse(URL, body=page.encode(encoding), encoding=encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they recommend another library for it
        return scrapy.FormRequest.from_response(response, **options)


def ours(page: str, encoding: str, **options: Any) -> Request:
    headers = {"content-type": f"text/html; charset={encoding}"}
    return FormRequest.from_response(Response(URL, headers=headers, body=page.encode(encoding)), **options)


INPUTS = """
<input name=a value=1><input name=b><input value=nameless><input name=c type=hidden value="h &amp; h">
<input name=d type=CHECKBOX value=no><input name=d type=checkbox value=yes checked><input name=e type=checkbox checked>
<input name=r type=radio value=1><input name=r type=Radio value=2 checked><input name=r type=radio>
<input name=f type=file><input name=off value=off disabled><input name=but type=button value=but>
<input name=res type=reset value=res><input name=empty type="" value=e><input name=pw type=password value="ü">
<textarea name=t>
 two lines &lt;</textarea><textarea name=tt></textarea>
<select name=s1><option value=1>one<option selected> two <option value=3>three</select>
<select name=s2><option>first<option value=2>second</select>
<select name=s3><option disabled>no<option>yes</select><select name=s4><option disabled value=d>no</select>
<select name=s5></select><select name=s6 multiple><option selected value=x><option><option selected> y </select>
<select name=s7 multiple><option value=x></select><select><option>nameless</select>
<select name=s8><option selected>1<option selected>2</select>
"""
BUTTONS = """<input type=submit name=go value=Go><button name=b1>B1</button><input type=IMAGE name=img value=i>
<button type=button name=b2 value=2>no</button><button type=SUBMIT name=b3 value=3 class="x">yes</button>"""
FORM = f"<form action=/send method=post>{INPUTS}{BUTTONS}</form>"
TWO = (
    "<form id=search action=?find><input name=q></form><p><form name=login method=post action='in'>"
    "<div class=box><input name=user><button>ok</button></div></form><input name=out form=login value=1>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dont_click": True},
        {"formdata": {"a": "2", "new": "n", "d": None, "r": ["1", "3"], "tt": "ü\r\n"}},
        {"formdata": [("a", "2"), ("a", "3"), ("go", "G")]},
        {"formdata": {"go": "stop"}},
        {"formdata": (("a", b"\xff"),)},
        {"clickdata": {"name": "b3"}},
        {"clickdata": {"class": "x", "value": "3"}},
        {"clickdata": {"type": "IMAGE"}},
        {"clickdata": {"nr": 0}},
        {"method": "GET"},
        {"method": "get", "formdata": {"a": "ü"}},
        {"method": "PUT"},
        {"url": "/elsewhere?y=2", "method": "POST"},
        {"headers": {"content-type": "text/x"}},
        {"cookies": {}},
    ],
)
def test_a_form_is_filled_in_as_in_scrapy(options: dict[str, Any], encoding: str) -> None:
    assert sent(ours(FORM, encoding, **options)) == sent(theirs(FORM, encoding, **options))


@pytest.mark.parametrize(
    "page",
    [
        "<form></form>",
        "<form><input name=a value=1></form>",
        "<form action><input name=a></form>",
        "<form action=' ../up '><input name=a></form>",
        "<form method=dialog action=/x><input name=a></form>",
        "<form method=POST action=/x?y=1></form>",
        "<form method=POST action=/x?y=1><input name=a></form>",
        "<base href=//cdn.example/b/><form action=c><input name=a></form>",
        "<base href=/b/><form><input name=a></form>",
        "<form method=post><button name=x>1</button><button name=y>2</button></form>",
        "<form><button value=unnamed></button><input name=a></form>",
        "<form><p><table><tr><td><input name=a value=b></table><div><input name=c></form><input name=outside>",
        "<form><input name=a value='1 + 1 = 2 & more; /?#'></form>",
    ],
)
def test_a_form_leads_where_it_leads_in_scrapy(page: str) -> None:
    assert sent(ours(page, "utf-8")) == sent(theirs(page, "utf-8"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"formname": "login"},
        {"formname": "none"},
        {"formid": "search"},
        {"formname": "none", "formid": "search", "formnumber": 1},
        {"formnumber": 1},
        {"formnumber": -1},
        {"formxpath": "//input[@name='user']"},
        {"formxpath": "//form[2]"},
        {"formcss": ".box button"},
        {"formcss": "form"},
        {"formxpath": "//form", "formname": "login"},
    ],
)
def test_a_form_is_chosen_as_in_scrapy(options: dict[str, Any]) -> None:
    assert sent(ours(TWO, "utf-8", **options)) == sent(theirs(TWO, "utf-8", **options))


@pytest.mark.parametrize(
    ("page", "options", "told"),
    [
        ("<p>", {}, f"{URL}: the page has no <form>"),
        (TWO, {"formnumber": 2}, "form number 2: the page has 2, counted from 0"),
        (TWO, {"formnumber": -3}, "form number -3"),
        (TWO, {"formxpath": "//p"}, "'//p' selects nothing inside a <form>"),
        (TWO, {"formxpath": "//form["}, "xpath('//form[')"),
        (TWO, {"formxpath": "count(//form)"}, "selects nothing"),
        (FORM, {"clickdata": {"name": "none"}}, "matches 0 elements of the form"),
        (FORM, {"clickdata": {}}, "it must match one"),
        (FORM, {"clickdata": {"nr": 99}}, "matches 0"),
        (FORM, {"formdata": {"a": 5}}, "formdata['a'] is int 5; write text, such as str(value)"),
        (FORM, {"formdata": {"a": [1]}}, "formdata['a'] is int 1"),
        (FORM, {"formdata": ["ab"]}, "formdata has str 'ab'; write a dict"),
        ("<form action=mailto:me@a.example>", {}, "the form leads to"),
    ],
)
def test_a_form_that_cannot_be_sent_says_why(page: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        ours(page, "utf-8", **options)
    assert told in str(caught.value)


def test_a_name_with_quotes_selects_no_other_form() -> None:
    assert ours(TWO, "utf-8", formname='x"] | //form[@name="login').url == "http://shop.example/login/page?q="


def test_what_an_encoding_lacks_is_sent_as_in_browsers() -> None:
    assert ours("<form method=post><input name=a value=&#x416;>", "iso-8859-1").body == b"a=%26%231046%3B"


@pytest.mark.parametrize(
    "options",
    [
        {"formdata": {"q": "a b", "n": ["1", "2"], b"k": b"\xff"}},
        {"formdata": [("q", "1"), ("q", "2")]},
        {"formdata": {"q": "ü"}, "method": "GET"},
        {"formdata": {"q": "ü"}, "method": "get", "encoding": "latin-1"},
        {"formdata": {"q": "1"}, "method": "put"},
        {"formdata": {"q": "1"}, "method": None},
        {"formdata": {}},
        {"formdata": None, "method": "POST"},
        {"formdata": {"q": "1"}, "headers": {"Content-type": "x/y", "A": "b"}},
    ],
)
def test_form_data_are_sent_as_by_scrapy(options: dict[str, Any]) -> None:
    assert sent(FormRequest(URL, **options)) == sent(scrapy.FormRequest(URL, **options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": {"b": [1, None, "ü"], "a": 1.5}},
        {"data": [], "method": "PUT"},
        {"data": "", "method": "GET"},
        {
            "data": {"b": 1, "a": 2},
            "dumps_kwargs": {"sort_keys": False, "separators": (",", ":"), "ensure_ascii": False},
        },
        {"body": "{}", "method": "POST"},
        {"data": 1, "headers": {"ACCEPT": "application/hal+json"}},
    ],
)
def test_json_is_sent_as_by_scrapy(options: dict[str, Any]) -> None:
    assert sent(JsonRequest(URL, **options)) == sent(TheirJson(URL, **options))


def test_what_is_made_is_a_request_like_any_other() -> None:
    form = FormRequest(URL, "parse_item", formdata={"a": "1"}, meta={"n": 1}, cb_kwargs={"k": 2}, priority=3)
    assert type(form) is type(JsonRequest(URL)) is Request
    assert (form.callback, form.meta, form.cb_kwargs, form.priority) == ("parse_item", {"n": 1}, {"k": 2}, 3)
    assert json.loads(JsonRequest(URL, data={"a": 1}, dont_filter=True).body) == {"a": 1}
    with pytest.raises(TypeError, match=r"data=… or body=…, not both"):
        JsonRequest(URL, data=1, body="1")
    with pytest.raises(TypeError, match="not JSON serializable"):
        JsonRequest(URL, data={1, 2})
    with pytest.raises(TypeError, match=r"Request\(json=…\): write JsonRequest"):
        Request(URL, json={})  # type: ignore[call-arg]
