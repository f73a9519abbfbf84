"""What an errback is called with: the request and our `Failure`, or, like one of Scrapy, a failure alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from crawler import errors
from crawler.errors import HttpError, PageError
from crawler.model import Failure, Request
from crawler.response import Response
from crawler.spiders.base import Spider

_CLASSES: Mapping[str, type[PageError]] = {
    "connect": errors.ConnectionRefusedError,
    "decode": errors.ResponseFailed,
    "dns": errors.DNSLookupError,
    "ignored": errors.IgnoreRequest,
    "malformed": errors.ResponseFailed,
    "refused": errors.IgnoreRequest,
    "reset": errors.ConnectionLost,
    "robots": errors.IgnoreRequest,
    "timeout": errors.TimeoutError,
    "tls": errors.ResponseFailed,
    "too_large": errors.DownloadCancelledError,
    "truncated": errors.ResponseDataLossError,
}
"""Kind of failure → the class of the exception. Those of other kinds, such as `callback`, are a `PageError`."""

_NAMES: Mapping[type[PageError], frozenset[str]] = {
    kind: frozenset(name for name, found in vars(errors).items() if found is kind)
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PageError)
}
_OTHERS = ("scrapy.", "twisted.")  # their exceptions of the same names are meant as well


class RequestFailure:
    """Why a request was given up, with the attributes of Twisted's `Failure` that errbacks use.

    `value` is an exception of `crawler.errors`, such as `HttpError` with its `response`; `type` is its class.
    """

    def __init__(self, request: Request, failure: Failure, response: Response | None = None) -> None:
        """`response` is the answer whose status the spider does not handle."""
        self.request = request
        self.kind = failure.kind
        self.status = failure.status
        self.value = _exception(failure, response)
        self.type = type(self.value)
        self._failure = failure

    def __repr__(self) -> str:
        return f"<RequestFailure {self.type.__name__}: {self.getErrorMessage()}>"

    def check(self, *classes: Any) -> Any:
        """Return the first of these classes that the exception belongs to; None if there is none. A class may be given
        by its name; one of Scrapy or Twisted stands for ours of the same name."""
        return next((one for one in classes if _is_one(self.value, one)), None)

    def trap(self, *classes: Any) -> Any:
        """Do the same, but raise the exception if it belongs to none of them."""
        if (found := self.check(*classes)) is None:
            raise self.value
        return found

    def raiseException(self) -> None:
        """Raise the exception."""
        raise self.value

    def getErrorMessage(self) -> str:
        """Return the reason in words."""
        return str(self.value)

    def getTraceback(self, *_: Any, **__: Any) -> str:
        """Return the traceback of the spider's own code if that has failed; else the class and the reason."""
        return self._failure.traceback or f"{self.type.__name__}: {self.getErrorMessage()}\n"

    getBriefTraceback = getTraceback


def errback_arguments(
    spider: Spider, errback: str, request: Request, failure: Failure, response: Response | None
) -> tuple[Any, ...]:
    """Return what this method of the spider is called with. `response` is the answer, if there was one."""
    method = getattr(spider, errback, None)
    if method is not None and takes_failure_alone(getattr(method, "__func__", method), _before(method)):
        return (RequestFailure(request, failure, response),)
    return request, failure


def _before(method: Any) -> tuple[str, ...]:
    return ("self",) if inspect.ismethod(method) else ()


@lru_cache
def takes_failure_alone(method: Callable[..., Any], before: tuple[str, ...]) -> bool:
    """Return whether a method is an errback like Scrapy's: its one argument, or the first of several where the others
    have defaults, is the failure. `before` are the arguments that come first by themselves, such as `self`."""
    signature = inspect.signature(method)
    names = list(signature.parameters)[len(before) :]
    if not _takes(signature, *before, "failure") or names[:1] == ["response"]:  # which is a callback
        return False
    return not _takes(signature, *before, "request", "failure") or names[:1] == ["failure"]


def _takes(signature: inspect.Signature, *arguments: str) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _exception(failure: Failure, response: Response | None) -> PageError:
    kind = failure.kind
    if kind.startswith("http_") and response is not None:
        value: PageError = HttpError(response, failure.message)
    else:
        value = _CLASSES.get(kind, PageError)(failure.message)
    value.kind = kind
    return value


def _is_one(value: PageError, wanted: Any) -> bool:
    if isinstance(wanted, type) and not f"{wanted.__module__}.".startswith(_OTHERS):
        return isinstance(value, wanted)
    name = wanted.__name__ if isinstance(wanted, type) else str(wanted).rpartition(".")[2]
    return name == "Exception" or any(name in _NAMES.get(kind, ()) for kind in type(value).__mro__)
