"""What the answer to a request for robots.txt means for its host (RFC 9309 §2.3.1). Pure.

2xx                                   its rules
4xx, but 429                          unavailable: everything may be fetched
3xx that leads nowhere or too far     the same
429, 5xx, any other status, no answer unreachable: nothing may be fetched; ask again soon
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from msgspec import Struct

from crawler.errors import FetchError
from crawler.parsing.robots_lines import MAX_BYTES
from crawler.robots.file import ALLOW_ALL, DISALLOW_ALL, Robots

Kind = Literal["rules", "allow", "disallow"]

MAX_REDIRECTS = 5
"""How many redirects are followed for robots.txt, also to other hosts."""

MAX_SECONDS = 86_400.0
"""How long an answer may be used (§2.4)."""

_KEPT_BYTES = MAX_BYTES + 4  # a byte order mark, and one more that tells the parser that the last line is cut

UNREACHABLE_SECONDS = 300.0
"""How long a host that answered with an error is left alone before robots.txt is asked for again."""

ERROR_SECONDS = 5.0
"""The same for one that gave no answer: the pages' own retries ask again, this only spares it a stampede."""


class RobotsAnswer(Struct, frozen=True):
    """One host's answer, as the fleet shares it: the body matters when `kind` is "rules"."""

    kind: Kind
    seconds: float  # how long it may be used
    body: bytes = b""
    status: int = 0  # 0: the host gave no answer
    asked: float = 0.0  # when, Unix seconds

    def left(self, now: float) -> float:
        """Seconds for which it may still be used. A clock that differs from the asker's makes them fewer or more,
        but never more than `seconds`, and the fleet's copy is gone by then."""
        return min(max(self.asked + self.seconds - now, 0.0), self.seconds)

    def rules(self) -> Robots:
        """The verdicts that follow from it."""
        if self.kind == "rules":
            return Robots.parse(self.body)
        return ALLOW_ALL if self.kind == "allow" else DISALLOW_ALL

    def encode(self) -> bytes:
        """As bytes: a line with kind, seconds, moment and status, then the body. Readable in the queue server."""
        return f"{self.kind} {self.seconds:.3f} {self.asked:.3f} {self.status}\n".encode() + self.body

    @staticmethod
    def decode(data: bytes) -> RobotsAnswer | None:
        """The inverse of `encode`; None when `data` is not an encoded answer: ask the host again. Ignores
        further words in the first line, which a later version may write."""
        head, _, body = data.partition(b"\n")
        found = _HEAD(head.decode("latin-1"))
        if not found or found[1] not in get_args(Kind):
            return None
        seconds = min(float(found[2]), MAX_SECONDS)
        return RobotsAnswer(found[1], seconds, body[:_KEPT_BYTES], int(found[4]), float(found[3]))  # type: ignore[arg-type]


_HEAD = re.compile(r"([a-z]+) ([0-9]{1,9}\.[0-9]{3}) ([0-9]{1,12}\.[0-9]{3}) ([0-9]{1,3})(?: .*)?", re.ASCII).fullmatch


def verdict_source(
    answer: int | FetchError,
    body: bytes = b"",
    *,
    seconds: float = MAX_SECONDS,
    pause: float = 0.0,
    now: float = 0.0,
) -> RobotsAnswer:
    """What a final status, or the failure to get one, means at the Unix time `now`.

    A good answer may be used for `seconds`; a bad one asks to be left alone for `pause` seconds at least.
    """
    if isinstance(answer, FetchError):
        return RobotsAnswer("disallow", ERROR_SECONDS, asked=now)
    if 200 <= answer < 300:
        return RobotsAnswer("rules", min(seconds, MAX_SECONDS), body[:_KEPT_BYTES], answer, now)
    if 300 <= answer < 500 and answer != 429:
        return RobotsAnswer("allow", min(seconds, MAX_SECONDS), b"", answer, now)
    return RobotsAnswer("disallow", min(max(pause, UNREACHABLE_SECONDS), MAX_SECONDS), b"", answer, now)


def agent_token(user_agent: str) -> str:
    """The product token that groups of robots.txt are matched with: "Example" of "Example/1.0 (+https://…)".

    Of a browser's disguise, "Mozilla/5.0 (compatible; Example/1.0)", it is the compatible one. "*" when
    there is none.
    """
    disguised = re.match(r"Mozilla/\S+ \(compatible;\s*([A-Za-z0-9_.-]+)", user_agent)
    plain = re.match(r"\s*([A-Za-z0-9_.-]+)", user_agent)
    found = disguised or plain
    return found[1] if found else "*"
