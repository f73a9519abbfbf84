"""Read ``<meta name=robots>`` and ``X-Robots-Tag``: whether to keep a page and follow its links. Pure.

No standard defines the two. This module follows what the search engines document ("Robots meta tag, data-nosnippet and
X-Robots-Tag specifications", Google Search Central; "X-Robots-Tag", MDN):

- directives are separated by commas and ignore case; `none` means `noindex, nofollow`; unknown ones are ignored,
- `unavailable_after: DATE` means `noindex` from that date on; an unreadable date is ignored,
- in a header, `NAME:` before a directive addresses it, and all that follow on the same line, to that robot,
- directives for all robots and for one robot add up: the more restrictive applies. `index`, `follow` and `all` cancel
  nothing.

White space and semicolons count as commas: people who write them by mistake mean the restriction.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final

from msgspec import Struct

MAX_LENGTH = 10_000
"""How many characters of one header line or one ``meta`` are read."""

_EVERYBODY: Final = frozenset(("robots", "*"))
_WITH_VALUE: Final = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))
_NAME: Final = re.compile(r"\s*+([A-Za-z_*][^\s:]*+)\s*+:")
_MAX_COMMAS = 2  # in a date: "Friday, 25-Jun-10 15:00:00 UTC", "Friday, June 25, 2010"


class PageDirectives(Struct, frozen=True):
    """What a page asks of robots."""

    noindex: bool = False  # do not keep it
    expired: bool = False  # no longer keep it: the date of `unavailable_after` has passed
    nofollow: bool = False  # do not follow its links

    def __or__(self, other: PageDirectives) -> PageDirectives:
        """Combine both: a restriction in either applies."""
        return PageDirectives(
            self.noindex or other.noindex,
            self.expired or other.expired,
            self.nofollow or other.nofollow,
        )


_WORDS: Final = {
    "noindex": PageDirectives(noindex=True),
    "nofollow": PageDirectives(nofollow=True),
    "none": PageDirectives(noindex=True, nofollow=True),
}


def names_of(agent: str) -> frozenset[str]:
    """The names, in lower case, that address the robot with the product token `agent`."""
    return _EVERYBODY | {agent.lower()}


def read_directives(lines: Iterable[str], names: frozenset[str], now: float) -> PageDirectives:
    """The combined directives of header lines, or of the contents of metas, for a robot with these names.

    `now` is Unix seconds. Never raises, whatever the lines contain.
    """
    directives = PageDirectives()
    for line in lines:
        directives |= _read_line(line[:MAX_LENGTH], names, now)
    return directives


def _read_line(line: str, names: frozenset[str], now: float) -> PageDirectives:
    directives = PageDirectives()
    parts = deque(re.split("[,;]", line))
    ours = True
    while parts:
        part = parts.popleft()
        while (named := _NAME.match(part)) and named[1].lower() not in _WITH_VALUE:
            ours = named[1].lower().partition("/")[0] in names
            part = part[named.end() :]
        if named is None:
            found = _read_words(part)
        elif named[1].lower() == "unavailable_after":
            moment = _take_moment(part[named.end() :], parts)
            found = PageDirectives(expired=moment is not None and moment <= now)
        else:
            continue  # `max-image-preview: none` is not a `none` directive
        if ours:
            directives |= found
    return directives


def _read_words(text: str) -> PageDirectives:
    directives = PageDirectives()
    for word in text.lower().split():
        directives |= _WORDS.get(word, directives)
    return directives


def _take_moment(date: str, parts: deque[str]) -> float | None:
    """The date that begins with `date`, in Unix seconds. Removes from `parts` those that belong to it.

    A date may contain commas and its end is not marked, so the shortest text that is a date counts. None if there is
    none.
    """
    for commas in range(min(_MAX_COMMAS, len(parts)) + 1):
        moment = _moment(",".join((date, *islice(parts, commas))))
        if moment is not None:
            for _ in range(commas):
                parts.popleft()
            return moment
    return None


def _moment(text: str) -> float | None:
    """Unix seconds of a date in ISO 8601, RFC 850, RFC 822 or similar, time optional; UTC without a known zone."""
    text = text.strip()
    day = f"{text.replace('-', ' ')} 00:00:00"
    for read, spelled in ((datetime.fromisoformat, text), (parsedate_to_datetime, text), (parsedate_to_datetime, day)):
        try:
            date = read(spelled)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
