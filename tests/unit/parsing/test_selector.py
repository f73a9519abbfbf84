"""Errors of selectors name the expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crawler.response import Response

PAGE = Response("http://a.example/", body=b"<p><b>x</b></p>", headers={"content-type": "text/html"})


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (lambda: PAGE.css("a["), "css('a['): Expected"),
        (lambda: PAGE.xpath("//a["), "xpath('//a['): XPath error: Invalid expression"),
        (lambda: PAGE.css("p").css("b:last-word"), "css('b:last-word'): The pseudo-class :last-word is unknown"),
        (lambda: PAGE.css("p")[0].xpath("foo:bar"), "xpath('foo:bar'): XPath error: Undefined namespace prefix"),
        (lambda: list(PAGE.follow_all(css="li..next")), "css('li..next'): Expected"),
    ],
)
def test_a_bad_expression_is_named(select: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^(css|xpath)") as caught:
        select()
    assert str(caught.value).startswith(said)
