"""Scrapy's classes for forms and JSON. Each makes a plain `Request`, which is all that travels through the queue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from crawler.model import Request
from crawler.parsing.forms import METHODS, filled_in, pairs_of, the_form, urlencoded
from crawler.parsing.request_headers import with_default
from crawler.parsing.url import BadUrl, canonical
from crawler.response import Response

FormData = Mapping[str, Any] | Iterable[tuple[str, Any]] | None

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json", "Accept": "application/json, text/javascript, */*; q=0.01"}


class FormRequest:
    """A request that sends form data: `FormRequest(url, formdata={"q": "books"}, callback=self.parse_hits)`."""

    def __new__(  # type: ignore[misc]
        cls, url: str, callback: Any = "parse", *, formdata: FormData = None, **fields: Any
    ) -> Request:
        """Make the request; `fields` are the arguments of `Request`. `formdata` is a dict or an iterable of pairs; a
        value is text, bytes, or a list of them. It is the body of a POST, which is the default with form data, and with
        any other method the query of the URL. Raise `ValueError`."""
        pairs = pairs_of(formdata)
        if pairs:
            method = fields["method"] = str(fields.get("method") or "POST").upper()
            text = urlencoded(pairs, fields.get("encoding") or "utf-8")
            if method == "POST":
                fields["headers"] = with_default(fields.get("headers"), _FORM)
                fields["body"] = text
            else:
                url = urlunsplit(urlsplit(url)._replace(query=text, fragment=""))
        return Request(url, callback, **fields)

    @classmethod
    def from_response(
        cls,
        response: Response,
        formname: str | None = None,
        formid: str | None = None,
        formnumber: int = 0,
        formdata: FormData = None,
        clickdata: Mapping[str, Any] | None = None,
        dont_click: bool = False,
        formxpath: str | None = None,
        formcss: str | None = None,
        **fields: Any,
    ) -> Request:
        """Make the request that a form of the page sends when `formdata` is entered and one of its buttons is clicked.

        The form is the one with `formname`, else with `formid`, else around what `formxpath` or `formcss` selects, else
        the one with `formnumber`. `clickdata` holds attributes of the button, or its number `nr`; without it the first
        is clicked, with `dont_click` none. A value of None leaves a field out. Raise `ValueError`.
        """
        if formcss is not None:
            from parsel.csstranslator import HTMLTranslator  # costs 30 ms; many crawls never use a selector

            formxpath = HTMLTranslator().css_to_xpath(formcss)
        try:
            form = the_form(response.root, name=formname, id=formid, xpath=formxpath, number=formnumber)
            data = filled_in(form, formdata, clickdata, click=not dont_click)
        except ValueError as error:
            raise ValueError(f"FormRequest.from_response, {response.url}: {error}") from None
        encoding = fields.setdefault("encoding", response.encoding)
        method = str(fields.pop("method", None) or form.get("method") or "GET").upper()
        base = response.page.base
        target = fields.pop("url", None)
        href = form.get("action") if target is None else target
        try:
            url = canonical(href or "", base, encoding)
        except BadUrl as error:
            raise ValueError(f"FormRequest.from_response, {response.url}: the form leads to {error}") from None
        return cls(url, formdata=data, method=method if method in METHODS else "GET", **fields)


class JsonRequest:
    """A request that sends JSON: `JsonRequest(url, data={"page": 2}, callback=self.parse_api)`."""

    def __new__(  # type: ignore[misc]
        cls,
        url: str,
        callback: Any = "parse",
        *,
        data: Any = None,
        dumps_kwargs: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Request:
        """Make the request; `fields` are the arguments of `Request`. `data` becomes the body, and the method POST if
        none is given; `dumps_kwargs` go to `json.dumps`. Raise `TypeError` for data that is not JSON."""
        if data is not None:
            if fields.get("body") is not None:
                raise TypeError("JsonRequest: write data=… or body=…, not both")
            fields["body"] = json.dumps(data, **{"sort_keys": True, **(dumps_kwargs or {})})
            fields.setdefault("method", "POST")
        fields["headers"] = with_default(fields.get("headers"), _JSON)
        return Request(url, callback, **fields)
