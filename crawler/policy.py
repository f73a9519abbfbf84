"""Derive the outcome of a request from its response or error and from how often it failed before. Pure.

    2xx                                  None: the spider reads it
    301, 302, 303, 307, 308              `redirect` makes the next request
    a status of `retry_http_codes`       Retry, with a longer delay each time; Dead after the last try
    a transient error (time-out …)       the same
    an exception of a callback           Retry for what may pass (`may_pass`), else Dead at once
    any other status or error            Dead at once: a retry would give the same result

Randomness and the clock are arguments: `chance` is a number in 0..1, `now` is Unix seconds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import FetchError
from crawler.model import Dead, Done, Failure, Outcome, Release, Request, Retry, Skip, Visit
from crawler.parsing.request_fields import META_WORDS
from crawler.parsing.url import BadUrl, canonical, dedup_key, origin_of
from crawler.response import Response
from crawler.runtime.credentials import is_secret
from crawler.settings import DEFAULTS

REDIRECTS = frozenset({301, 302, 303, 307, 308})

DAY = 86_400.0
"""Seconds. The longest delay that a host can impose on a request."""

DOWN = frozenset({"dns", "connect", "timeout", "reset"})
"""Transient failures which mean that a host cannot be reached."""

UNREADABLE = frozenset({"malformed", "decode", "truncated", "too_large"})
"""Failures by which an answer came and cannot be used."""

BUSY = frozenset({429, 503})
"""Statuses which ask for fewer requests; Retry-After may say when (RFC 6585 §4, RFC 9110 §15.6.4)."""

_JITTER = 0.5  # a delay is spread over 75 % .. 125 %
_MAX_DOUBLINGS = 32
_SECONDS = re.compile(r"[0-9]{1,300}(\.[0-9]{1,300})?", re.ASCII).fullmatch  # hosts send fractions by mistake

OF_THE_PROJECT = frozenset({"callback", "pipeline"})
"""Failures that no host can cause: its own code raised."""

ROUTE_REFUSALS = frozenset({"http_401", "http_403"})
"""Failures by which a host may refuse one of its routes alone: many sites show the pages of one to no guests."""

SYSTEMIC = OF_THE_PROJECT | ROUTE_REFUSALS | {"crash", "http_407"}
"""Failures that need a person if many pages have them: a broken spider, an expired login or proxy.

Failures that pass by themselves (5xx, 429, time-outs, no connection) are not among them: the crawl retries those.
"""


class RetryPolicy(Struct, frozen=True):
    """When and how often to retry. The fields are the settings of the same names."""

    retry_times: int = DEFAULTS.RETRY_TIMES  # tries after the first one
    retry_http_codes: frozenset[int] = frozenset(DEFAULTS.RETRY_HTTP_CODES)
    retry_delay: float = DEFAULTS.RETRY_DELAY  # seconds before the first retry; doubles each time
    retry_max_delay: float = DEFAULTS.RETRY_MAX_DELAY  # seconds; a Retry-After may exceed it
    redirect_max_times: int = DEFAULTS.REDIRECT_MAX_TIMES
    metarefresh_maxdelay: float = DEFAULTS.METAREFRESH_MAXDELAY  # seconds; negative: a refresh leads nowhere
    dont_redirect: bool = False  # a redirect is judged like any other status
    handle_httpstatus_list: frozenset[int] = frozenset()  # the spider reads these too, once no tries are left
    handle_httpstatus_all: bool = False  # the spider reads all

    def handles(self, status: int) -> bool:
        """Whether the spider reads answers of this status outside 2xx."""
        return self.handle_httpstatus_all or status in self.handle_httpstatus_list

    def follows(self, status: int) -> bool:
        """Whether this status is a redirect to follow."""
        return status in REDIRECTS and not self.dont_redirect and not self.handles(status)


def for_request(retry: RetryPolicy, meta: Mapping[str, Any]) -> RetryPolicy:
    """The policy for one request, whose `meta` may hold Scrapy's words (see `request_fields`)."""
    if META_WORDS.isdisjoint(meta):
        return retry
    changes: dict[str, Any] = {}
    if meta.get("max_retry_times") is not None:
        changes["retry_times"] = meta["max_retry_times"]
    if meta.get("dont_retry"):
        changes["retry_times"] = 0
    if meta.get("dont_redirect"):
        changes |= {"dont_redirect": True, "metarefresh_maxdelay": -1.0}
    if meta.get("handle_httpstatus_list") is not None:
        changes["handle_httpstatus_list"] = frozenset(meta["handle_httpstatus_list"])
    if meta.get("handle_httpstatus_all"):
        changes["handle_httpstatus_all"] = True
    return replace(retry, **changes)


# ---------------------------------------------------------------------------------------------------------
# Statuses and errors


def judge(response: Response, attempt: int, retry: RetryPolicy, *, chance: float, now: float) -> Outcome | None:
    """The outcome of a response that is not a redirect to follow; None if the spider reads it.

    `attempt` is the number of tries that failed before this one.
    """
    status = response.status
    if 200 <= status < 300:
        return None
    failure = Failure(f"http_{status}", f"{response.url}: {_phrase(status)}", status)
    outcome: Outcome = Dead(failure)
    if status in retry.retry_http_codes:
        outcome = after(failure, attempt, retry, chance=chance, at_least=pause(response, now))
    return None if isinstance(outcome, Dead) and retry.handles(status) else outcome


def judge_error(error: FetchError, attempt: int, retry: RetryPolicy, *, chance: float) -> Outcome:
    """The outcome of a fetch that gave no response."""
    failure = Failure(error.kind, str(error))
    return after(failure, attempt, retry, chance=chance) if error.transient else Dead(failure)


def after(failure: Failure, attempt: int, retry: RetryPolicy, *, chance: float, at_least: float = 0.0) -> Retry | Dead:
    """Retry after at least `at_least` seconds, or Dead if no tries are left."""
    if attempt >= retry.retry_times:
        return Dead(failure, spent=True)
    delay = retry.retry_delay * 2 ** min(attempt, _MAX_DOUBLINGS) * (1 + _JITTER * (chance - 0.5))
    return Retry(failure, max(min(delay, retry.retry_max_delay), at_least))


def may_pass(error: BaseException) -> bool:
    """Whether another try may end otherwise: the exception, or one behind it, is an OSError (which includes time-outs
    and lost connections) or a MemoryError. Anything else that a callback raises fails alike on the same page.
    """
    rest, seen = [error], set()
    while rest:
        one = rest.pop()
        if isinstance(one, (OSError, MemoryError)):
            return True
        seen.add(id(one))
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        context = None if one.__suppress_context__ else one.__context__
        rest += [cause for cause in (one.__cause__, context, *inner) if cause and id(cause) not in seen]
    return False


def after_exception(
    error: BaseException, failure: Failure, attempt: int, retry: RetryPolicy, *, chance: float
) -> Retry | Dead:
    """The outcome of a page whose callback raised: another try only for what may pass."""
    return after(failure, attempt, retry, chance=chance) if may_pass(error) else Dead(failure)


def verdict(visit: Visit) -> str:
    """What a visit shows about its host and spider: `ok`, the kind of a systemic failure, or nothing (empty).

    A 404 is `ok`: the page does not exist, but the host works.
    """
    match visit.outcome:
        case Done():
            return "ok"
        case Retry(failure=failure) | Dead(failure=failure) if failure.kind in SYSTEMIC:
            return failure.kind
        case Skip() | Dead() if visit.status is not None and visit.status < 500:
            return "ok"
    return ""


_OURS = frozenset({"internal", "robots"})  # the host answered, or was not asked for this page


def counts(visit: Visit) -> dict[str, int]:
    """The counters that a visit adds to its job's, besides its state and status: dropped items and links not followed,
    by reason; the kind of error if the host gave no answer; what the spider raised; an own limit."""
    found: dict[str, int] = defaultdict(int)
    for why, times in visit.dropped.items():
        found[f"dropped/{'_'.join(why.split())}"] += times
    for why, times in visit.unfollowed.items():
        found[f"links/{why}"] += times
    found.update(visit.noted)
    match visit.outcome:
        case Retry(failure=failure) | Dead(failure=failure):
            if visit.status is None and visit.asked_at is not None and failure.kind not in _OURS:
                found[f"error/{failure.kind}"] = 1
            if failure.kind == "callback":
                found["spider_errors"] += 1
        case Release(own_limit=limit) if limit:
            found["own_limit"] = 1
    return found


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


# ---------------------------------------------------------------------------------------------------------
# Retry-After


def pause(response: Response, now: float) -> float:
    """Seconds for which the response asks for no requests to its host; 0 if it does not ask."""
    return (retry_after(response, now) or 0.0) if response.status in BUSY else 0.0


def health(answer: Response | FetchError) -> Literal["", "ok", "busy", "down"]:
    """The state of a host: it answers, it is busy, or it is down. Empty if the error concerns only the page."""
    if isinstance(answer, FetchError):
        return "down" if answer.transient and answer.kind in DOWN else ""
    if answer.status in BUSY:
        return "busy"
    return "ok" if answer.status < 500 else ""


def retry_after(response: Response, now: float) -> float | None:
    """Retry-After (RFC 9110 §10.2.3) in seconds from now, at most a day. None if it is absent or invalid."""
    value = response.headers.get("retry-after", "").strip()
    if _SECONDS(value):
        return min(float(value), DAY)
    try:
        date = parsedate_to_datetime(value)
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - now, 0.0), DAY)


# ---------------------------------------------------------------------------------------------------------
# Redirects


def redirect(response: Response, retry: RetryPolicy) -> Request | Outcome:
    """The request that a redirect leads to, or `Dead` if it leads nowhere.

    It is a new request: scope, robots.txt, address guard and politeness apply to it. It keeps the spider, callback,
    meta, priority and depth of its predecessor; credentials are removed if the origin changes.
    """
    request = response.request
    if request.redirects >= retry.redirect_max_times:
        return _lost("redirects", response, f"more than {retry.redirect_max_times} redirects (REDIRECT_MAX_TIMES)")
    location = response.headers.get("location", "")
    if not location:
        return _lost("redirect", response, f"{_phrase(response.status)} without a Location")
    try:
        url = canonical(location, response.url)
    except BadUrl as error:
        return _lost("redirect", response, f"redirects to {error}")
    return _onward(response, url, response.status, is_get=_becomes_get(request.method, response.status))


def refresh(response: Response, retry: RetryPolicy) -> Request | str:
    """The request for the page to which a refresh (`Response.refresh`) sends the reader, like `redirect`.

    A text if there is none: the reason for which it is not followed, empty if the page sends its reader nowhere else.
    """
    if retry.metarefresh_maxdelay < 0:
        return ""
    said, request = response.refresh, response.request
    if said is None or dedup_key(said.url) in (dedup_key(response.url), dedup_key(request.url)):
        return ""
    if said.seconds > retry.metarefresh_maxdelay:
        return "metarefresh"
    if request.redirects >= retry.redirect_max_times:
        return "redirects"
    return _onward(response, said.url, "meta refresh", is_get=True)


def instead(request: Request, wanted: Request, retry: RetryPolicy) -> Request:
    """The request that a middleware wants to be made instead of this one, as the target of a redirect. Raise
    `ValueError` if it leads nowhere, or too many in a row have done that."""
    if request.redirects >= retry.redirect_max_times:
        raise ValueError(f"more than {retry.redirect_max_times} times in a row (REDIRECT_MAX_TIMES)")
    return replace(wanted, url=canonical(wanted.url), redirects=request.redirects + 1, spider=request.spider)


def _onward(response: Response, url: str, reason: int | str, *, is_get: bool) -> Request:
    request = response.request
    meta = {
        **request.meta,
        "redirect_urls": [*(request.meta.get("redirect_urls") or ()), request.url],
        "redirect_reasons": [*(request.meta.get("redirect_reasons") or ()), reason],
    }
    following = replace(request, url=url, redirects=request.redirects + 1, delay=0.0, meta=meta)
    if is_get:
        following = replace(following, method="GET", body=b"", headers=_without_content(following))
    if origin_of(url) != origin_of(response.url):
        following = replace(following, headers=_without_secrets(following))
    return following


def _lost(kind: str, response: Response, why: str) -> Dead:
    return Dead(Failure(kind, f"{response.url}: {why}", response.status))


def _becomes_get(method: str, status: int) -> bool:
    """Whether the next request is a GET, as in browsers (Fetch standard, HTTP-redirect fetch)."""
    method = method.upper()
    return (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD"))


def _without_content(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if not name.lower().startswith("content-")}


def _without_secrets(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if not is_secret(name)}
