"""Reads the messages of other systems as seeds: a URL, lines of URLs, or one JSON object with a request's fields.

    http://a.example/
    {"url": "http://a.example/search", "method": "POST", "body": "q=books", "priority": 5}

Messages come from outside, so nothing in them is trusted: their size is bounded, and an unknown field is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from crawler.interfaces import Delivery
from crawler.model import BLANK, Request

MAX_BYTES = 1_000_000
"""The longest message that is read: as long as the longest request."""

FIELDS = (
    *("url", "priority", "spider", "callback", "method", "headers", "cookies", "body", "meta", "cb_kwargs", "delay"),
    "dont_filter",
)
"""The fields that a JSON object may have: those of `Request` that are not the crawler's own."""


def seeds_of(message: Delivery) -> Sequence[str | Request]:
    """Return the seeds in one message, which are not checked yet. Raise `ValueError` if it is not such a message."""
    if len(message.body) > MAX_BYTES:
        raise ValueError(f"{len(message.body):,} bytes; a message has at most {MAX_BYTES:,}")
    text = message.body.decode().strip()
    if text.startswith("{"):
        return [_request(text, message.priority)]
    urls = [url for line in text.splitlines() if (url := line.strip()) and url[0] != "#"]
    if not urls:
        raise ValueError("no URL in it; send a URL, lines of URLs, or a JSON object with a url")
    return [replace(BLANK, url=url, priority=message.priority) for url in urls] if message.priority else urls


def _request(text: str, priority: int) -> Request:
    try:
        return request_of({"priority": priority, **msgspec.json.decode(text)})
    except RecursionError as error:
        raise ValueError(str(error)) from None


def request_of(fields: Mapping[str, Any]) -> Request:
    """Return the request with these fields. Raise `ValueError` for an unknown field or a value that cannot be meant."""
    try:
        unknown = sorted(fields.keys() - set(FIELDS))
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}; a request has {', '.join(FIELDS)}")
        if "url" not in fields:
            raise ValueError("it has no url")
        return Request(**fields)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
