"""Middlewares in Scrapy's shape: classes with `process_request`, `process_response` or `process_exception`.

As in Scrapy, `process_request` of each is called, the smallest number first; then the page is fetched; then
`process_response` of each, the largest number first. The first `process_request` that returns a response ends the
asking, and all `process_response` see it. `process_exception` sees what `process_request` or the fetch raised.

Where a request is returned, it must pass robots.txt, scope and politeness like any other: it joins the queue, as the
target of a redirect does (`AskedInstead`). `IgnoreRequest` skips the page, which is counted (`skip/ignored`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import AskedInstead, FetchError, Ignored, IgnoreRequest, OwnLimit
from crawler.model import Request
from crawler.parsing.request_fields import settled
from crawler.response import Response
from crawler.runtime import components
from crawler.runtime.tasks import within
from crawler.runtime.tracebacks import error_in_words

METHODS = ("process_request", "process_response", "process_exception")

Fetch = Callable[[Request], Awaitable[Response]]


class _Step(Struct, frozen=True):
    name: str  # `myproject.middlewares.Proxies.process_request`
    call: Callable[..., Any]
    extra: Mapping[str, Any]  # the spider, if it takes that


class _Failed(FetchError):
    """A method of a middleware raised something of its own."""

    def __init__(self, step: _Step, cause: BaseException) -> None:
        super().__init__("middleware", f"{step.name}: {error_in_words(cause)}", transient=False)
        self.cause = cause


class ScrapyMiddlewares:
    """Those of one spider that stand side by side, as one middleware."""

    def __init__(self, made: Iterable[tuple[str, Any]], spider: Any, seconds: float | None = None) -> None:
        """`made`: import path and instance of each, the smallest number first. What is async is cancelled after
        `seconds`. Raise `ConfigError` for a method that takes other arguments."""
        self._seconds = seconds
        self._spider = spider
        asks, answers, failures = (list(self._steps(made, method)) for method in METHODS)
        self._asks, self._answers, self._failures = asks, answers[::-1], failures[::-1]

    def _steps(self, made: Iterable[tuple[str, Any]], method: str) -> Iterable[_Step]:
        takes = {"process_request": (), "process_response": ("response",), "process_exception": ("exception",)}[method]
        for path, middleware in made:
            if call := getattr(middleware, method, None):
                is_told = components.takes(call, "request", *takes, "spider")
                components.check_takes(SETTING, f"{path}.{method}", call, "request", *takes, *["spider"] * is_told)
                yield _Step(f"{path}.{method}", call, {"spider": self._spider} if is_told else {})

    async def __call__(self, request: Request, call_next: Fetch) -> Response:
        """Return the answer for the request. Raise `FetchError`."""
        asked = replace(request, headers=_Headers(request.headers), meta=dict(request.meta))  # which they may change
        is_made = False

        async def fetch() -> Response:
            nonlocal is_made
            final = _final(asked, request)
            is_made = True
            return await call_next(final)

        try:
            return await self._answered(asked, fetch)
        except IgnoreRequest as why:
            raise Ignored(str(why) or "a middleware raised IgnoreRequest", unasked=not is_made) from why
        except AskedInstead as instead:
            instead.unasked = not is_made
            raise

    async def _answered(self, request: Request, fetch: Callable[[], Awaitable[Response]]) -> Response:
        try:
            response = await self._asked(request) or await fetch()
        except (FetchError, IgnoreRequest) as error:
            if isinstance(error, AskedInstead):
                raise
            response = await self._recovered(request, error)
        for step in self._answers:
            given = await self._call(step, request=request, response=response)
            response = _response(step, given, request)
        return response

    async def _asked(self, request: Request) -> Response | None:
        for step in self._asks:
            given = await self._call(step, request=request)
            if given is not None:
                return _response(step, given, request)
        return None

    async def _recovered(self, request: Request, error: Exception) -> Response:
        cause = error.cause if isinstance(error, _Failed) else error
        for step in self._failures:
            given = await self._call(step, request=request, exception=cause)
            if given is not None:
                return _response(step, given, request)
        raise error

    async def _call(self, step: _Step, **arguments: Any) -> Any:
        try:
            given = step.call(**arguments, **step.extra)
            if components.is_deferred(given):
                raise TypeError("it returned a Deferred; write async def")
            if inspect.isawaitable(given):
                async with within(self._seconds, step.name):
                    given = await given
        except (FetchError, IgnoreRequest, OwnLimit):
            raise
        except (Exception, SystemExit) as error:
            raise _Failed(step, error) from error
        return given


SETTING = "DOWNLOADER_MIDDLEWARES"


def _response(step: _Step, given: Any, request: Request) -> Response:
    """Return what a method gave if it is a response. Raise `AskedInstead` if it is a request."""
    if isinstance(given, Response):
        given.request = request
        return given
    if isinstance(given, Request):
        raise AskedInstead(step.name, given)
    wanted = "the response" if step.name.endswith("process_response") else "None, a response"
    raise FetchError(
        "middleware", f"{step.name} returned {type(given).__name__}; return {wanted} or a request", transient=False
    )


def _final(asked: Request, before: Request) -> Request:
    """Return the request as it will be made, after the changes of the middlewares. Raise `FetchError` if it cannot."""
    headers = dict(asked.headers)
    if headers == {name.lower(): value for name, value in before.headers.items()}:
        headers = dict(before.headers)
    if headers == before.headers and asked.meta == before.meta:
        return before
    changed = replace(asked, headers=headers)
    try:
        return replace(changed, **settled(changed))
    except ValueError as error:
        raise FetchError("middleware", f"a middleware changed the request: {error}", transient=False) from None


class _Headers(dict[str, str]):
    """Header fields that a middleware may change, by names in any case."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__()
        self.update(fields)

    def __setitem__(self, name: Any, value: Any) -> None:
        super().__setitem__(_text(name).lower(), _text(value))

    def __getitem__(self, name: Any) -> str:
        return super().__getitem__(_text(name).lower())

    def __delitem__(self, name: Any) -> None:
        super().__delitem__(_text(name).lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_text(name).lower())

    def get(self, name: Any, default: Any = None) -> Any:
        """Return the value; `default` if there is none."""
        return super().get(_text(name).lower(), default)

    def pop(self, name: Any, *default: Any) -> Any:
        """Remove the field and return its value."""
        return super().pop(_text(name).lower(), *default)

    def setdefault(self, name: Any, default: Any = None) -> Any:
        """Set the field if it is missing. Return its value."""
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *args: Any, **fields: Any) -> None:
        """Set several fields."""
        for name, value in dict(*args, **fields).items():
            self[name] = value


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
