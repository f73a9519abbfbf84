"""Decides which seeds may enter a job, and makes requests of them."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec.structs import replace

from crawler.errors import Refused
from crawler.model import BLANK, Request
from crawler.parsing.url import BadUrl, canonical, host_of
from crawler.seeding.contact import HostCheck


class NotAdmitted(ValueError):
    """A seed that is refused. `reason` names its counter."""

    def __init__(self, reason: str, url: str, why: str) -> None:
        super().__init__(f"{url}: {why}")
        self.reason = reason
        self.url = url
        self.why = why


_next_url = re.compile(r"\shttps?://", re.IGNORECASE).search
_surrogate = re.compile(r"[\ud800-\udfff]").search


def _is_table_row(line: str) -> bool:
    """Whether a line holds more than a URL. The URL standard would make one of it: it removes tabs, and encodes other
    white space."""
    line = line.strip()
    return "\t" in line or _next_url(line) is not None


class Admission:
    """The checks that every seed passes, wherever it comes from."""

    def __init__(self, guard: HostCheck, check: Callable[[Request], Request], spider: str) -> None:
        """`check(request)` returns the request as it will arrive, or raises `ValueError` if it cannot travel. `spider`
        reads the pages of seeds that name none."""
        self._guard = guard
        self._check = check
        self._spider = spider

    def admit(self, seed: str | Request) -> Request:
        """Return the request for a seed. Raise `NotAdmitted`."""
        text = seed if isinstance(seed, str) else seed.url
        if isinstance(seed, str) and _is_table_row(seed):
            raise NotAdmitted("bad url", text, "more than a URL: give one on each line, and nothing else")
        if not text.isascii() and _surrogate(text):  # all such bytes would become one character
            raise NotAdmitted("bad url", text, "not in UTF-8")
        try:
            url = canonical(text)
            self._guard.check_host(host_of(url))
        except BadUrl as error:
            raise NotAdmitted("bad url", text, error.why) from None
        except Refused as error:
            raise NotAdmitted("address not permitted", text, str(error)) from None
        if isinstance(seed, str):
            return replace(BLANK, url=url, spider=self._spider)
        try:
            return self._check(replace(seed, url=url, depth=0, spider=seed.spider or self._spider))
        except ValueError as error:
            raise NotAdmitted("cannot travel", text, str(error)) from None
