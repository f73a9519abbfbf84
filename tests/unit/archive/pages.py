"""Pages as workers have them, for the archive."""

from __future__ import annotations

from typing import Any

from crawler.frontier import message
from crawler.model import Lease, Request
from crawler.response import Exchange, Response

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def lease_of(request: Request, job: str = "news") -> Lease:
    return Lease(job, request, message.encode(request), "a.example")


def page(
    url: str = "http://a.example/", body: bytes = b"<p>x</p>", *, head: bytes = HEAD, **fields: Any
) -> tuple[Lease, Response]:
    """A lease, and the response to it as it came from a host."""
    request = Request(url, **fields)
    response = Response(url, body=body, headers={"content-type": "text/html"}, request=request, address="192.0.2.1")
    path = url.split("/", 3)[3]
    asked = f"{request.method} /{path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic c2VjcmV0\r\n\r\n"
    response.exchange = Exchange(asked.encode(), head, body)
    return lease_of(request), response
