"""An errback is called like ours, with request and failure, or like Scrapy's, with a failure that has its words."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest
import scrapy.exceptions
from scrapy.spidermiddlewares.httperror import HttpError as TheirHttpError
from twisted.internet import error as twisted

from crawler import Request, Response, Spider, errors
from crawler.errors import DNSLookupError, HttpError, IgnoreRequest, PageError, TCPTimedOutError, TimeoutError
from crawler.model import Failure
from crawler.spiders.errbacks import RequestFailure, errback_arguments

URL = "http://a.example/"
REQUEST = Request(URL, errback="failed", cb_kwargs={"page": 2})
PAGE = Response(URL, status=404, body=b"gone")


class Shop(Spider):
    name = "shop"

    def ours(self, request: Request, failure: Failure) -> None: ...
    def ours_with_more(self, request: Request, failure: Failure, more: int = 0) -> None: ...
    def ours_with_any(self, *given: Any) -> None: ...
    def ours_by_other_names(self, a: Request, b: Failure) -> None: ...
    def theirs(self, failure: RequestFailure) -> None: ...
    def theirs_by_another_name(self, f: RequestFailure) -> None: ...
    def theirs_with_more(self, failure: RequestFailure, count: int = 0) -> None: ...
    def theirs_with_names(self, f: RequestFailure, *, count: int = 0) -> None: ...
    @staticmethod
    def theirs_without_self(failure: RequestFailure) -> None: ...
    @classmethod
    def theirs_of_the_class(cls, failure: RequestFailure) -> None: ...


@pytest.mark.parametrize("name", [name for name in vars(Shop) if name.startswith(("ours", "theirs"))])
def test_the_arguments_of_an_errback_decide_what_it_gets(name: str) -> None:
    given = errback_arguments(Shop(), name, REQUEST, Failure("timeout", "late"), None)
    if name.startswith("ours"):
        assert given == (REQUEST, Failure("timeout", "late"))
    else:
        (failure,) = given
        assert (failure.request, failure.kind, failure.type) == (REQUEST, "timeout", TimeoutError)


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("dns", (DNSLookupError, OSError, twisted.DNSLookupError, scrapy.exceptions.CannotResolveHostError)),
        (
            "timeout",
            (TimeoutError, builtins.TimeoutError, TCPTimedOutError, twisted.TimeoutError, twisted.TCPTimedOutError),
        ),
        ("connect", (errors.ConnectionRefusedError, builtins.ConnectionRefusedError, twisted.ConnectionRefusedError)),
        ("reset", (errors.ConnectionLost, errors.ResponseFailed, twisted.ConnectionLost, "ResponseNeverReceived")),
        ("truncated", (errors.ResponseFailed, scrapy.exceptions.ResponseDataLossError)),
        ("too_large", (scrapy.exceptions.DownloadCancelledError, "scrapy.exceptions.DownloadCancelledError")),
        ("malformed", (errors.ResponseFailed, scrapy.exceptions.DownloadFailedError)),
        ("refused", (IgnoreRequest, scrapy.exceptions.IgnoreRequest)),
        ("callback", (PageError, Exception)),
        ("http_404", (HttpError, TheirHttpError, "HttpError", PageError)),
    ],
)
def test_each_kind_of_failure_is_of_the_classes_that_errbacks_ask_for(kind: str, classes: tuple[Any, ...]) -> None:
    failure = RequestFailure(REQUEST, Failure(kind, "why"), PAGE if kind.startswith("http") else None)
    for one in classes:
        assert failure.check(ValueError, one) is one
        assert failure.trap(one) is one
    others = {DNSLookupError, TimeoutError, HttpError, IgnoreRequest, errors.ConnectionRefusedError}
    assert failure.check(*(others - set(classes)), TheirHttpError if kind != "http_404" else KeyError) is None
    with pytest.raises(PageError, match="why"):
        failure.trap(KeyError)
    assert failure.value.kind == kind


def test_the_failure_has_what_errbacks_read() -> None:
    failure = RequestFailure(REQUEST, Failure("http_404", f"{URL}: 404 Not Found", 404), PAGE)
    assert failure.value.response is PAGE  # type: ignore[attr-defined]
    assert (failure.status, failure.request.cb_kwargs["page"]) == (404, 2)
    assert failure.getErrorMessage() == str(failure.value) == f"{URL}: 404 Not Found"
    assert failure.getTraceback() == f"HttpError: {URL}: 404 Not Found\n"
    assert repr(failure) == f"<RequestFailure HttpError: {URL}: 404 Not Found>"
    with pytest.raises(HttpError):
        failure.raiseException()
    own = RequestFailure(REQUEST, Failure("callback", "KeyError: 'x'", traceback="Traceback …"))
    assert own.getTraceback() == own.getBriefTraceback() == "Traceback …"


def test_a_status_without_its_answer_is_still_told() -> None:
    """As of a page whose last worker died."""
    failure = RequestFailure(REQUEST, Failure("http_503", "busy", 503))
    assert (failure.type, failure.status) == (PageError, 503)


def test_every_name_is_there() -> None:
    def names() -> Iterator[str]:
        yield from ("HttpError", "IgnoreRequest", "ConnectError", "ConnectionDone", "ConnectionLost", "ResponseFailed")
        yield from ("ConnectionRefusedError", "TCPTimedOutError", "TimeoutError", "DNSLookupError")
        yield from ("CannotResolveHostError", "DownloadTimeoutError", "DownloadConnectionRefusedError")
        yield from ("DownloadFailedError", "DownloadCancelledError", "ResponseDataLossError", "ResponseNeverReceived")

    assert [name for name in names() if not issubclass(getattr(errors, name), PageError)] == []
