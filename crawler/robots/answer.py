"""What the answer to a request for robots.txt means for its origin (RFC 9309 §2.3.1). Pure.

2xx                                   the body has the robots rules
4xx except 429                        unavailable: every page may be fetched
3xx without a target, or too many     the same
429, 5xx, any other status, no answer unreachable: no page may be fetched; ask again soon
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from msgspec import Struct

from crawler.errors import FetchError
from crawler.parsing.robots_lines import KEPT_BYTES
from crawler.robots.file import ALLOW_ALL, DISALLOW_ALL, Robots

Kind = Literal["rules", "allow", "disallow"]

MAX_REDIRECTS = 5
"""How many redirects of robots.txt are followed, including those to other hosts."""

MAX_SECONDS = 86_400.0
"""How long an answer may be used (§2.4)."""

UNREACHABLE_SECONDS = 300.0
"""How long the gate waits after an error status before it asks the host for robots.txt again."""

ERROR_SECONDS = 5.0
"""The same after no answer. It is short because the pages' retries ask again; it only prevents a stampede."""


class RobotsAnswer(Struct, frozen=True):
    """One origin's answer, as workers share it. `body` matters only if `kind` is "rules"."""

    kind: Kind
    seconds: float  # how long the answer may be used
    body: bytes = b""
    status: int = 0  # 0: the host gave no answer
    asked: float = 0.0  # Unix seconds when the request ended

    def left(self, now: float) -> float:
        """Seconds for which the answer may still be used. A clock that differs from the asker's makes the result wrong,
        but never more than `seconds`, and by then the shared copy has expired."""
        return min(max(self.asked + self.seconds - now, 0.0), self.seconds)

    def rules(self) -> Robots:
        """The robots rules that follow from the answer."""
        if self.kind == "rules":
            return Robots.parse(self.body)
        return ALLOW_ALL if self.kind == "allow" else DISALLOW_ALL

    def encode(self) -> bytes:
        """Encode as a line with kind, seconds, time and status, then the body. People can read it in the server."""
        return f"{self.kind} {self.seconds:.3f} {self.asked:.3f} {self.status}\n".encode() + self.body

    @staticmethod
    def decode(data: bytes) -> RobotsAnswer | None:
        """The inverse of `encode`; None if `data` is not an encoded answer, so that the host is asked again. Ignores
        further words in the first line: a later version may write them."""
        head, _, body = data.partition(b"\n")
        found = _HEAD(head.decode("latin-1"))
        if not found or found[1] not in get_args(Kind):
            return None
        seconds = min(float(found[2]), MAX_SECONDS)
        return RobotsAnswer(found[1], seconds, body[:KEPT_BYTES], int(found[4]), float(found[3]))  # type: ignore[arg-type]


_HEAD = re.compile(r"([a-z]+) ([0-9]{1,9}\.[0-9]{3}) ([0-9]{1,12}\.[0-9]{3}) ([0-9]{1,3})(?: .*)?", re.ASCII).fullmatch


def verdict_source(
    answer: int | FetchError,
    body: bytes = b"",
    *,
    seconds: float = MAX_SECONDS,
    pause: float = 0.0,
    now: float = 0.0,
) -> RobotsAnswer:
    """The meaning of a final status, or of the failure to get one, at the Unix time `now`.

    A good answer may be used for `seconds`. After a bad one no request is made for at least `pause` seconds.
    """
    if isinstance(answer, FetchError):
        return RobotsAnswer("disallow", ERROR_SECONDS, asked=now)
    if 200 <= answer < 300:
        return RobotsAnswer("rules", min(seconds, MAX_SECONDS), body[:KEPT_BYTES], answer, now)
    if 300 <= answer < 500 and answer != 429:
        return RobotsAnswer("allow", min(seconds, MAX_SECONDS), b"", answer, now)
    return RobotsAnswer("disallow", min(max(pause, UNREACHABLE_SECONDS), MAX_SECONDS), b"", answer, now)


def agent_token(user_agent: str) -> str:
    """The product token to look up in robots.txt: "Example" for "Example/1.0 (+https://…)".

    In a browser's form, "Mozilla/5.0 (compatible; Example/1.0)", it is the name after "compatible;". "*" if the
    User-Agent has no token.
    """
    disguised = re.match(r"Mozilla/\S+ \(compatible;\s*([A-Za-z0-9_.-]+)", user_agent)
    plain = re.match(r"\s*([A-Za-z0-9_.-]+)", user_agent)
    found = disguised or plain
    return found[1] if found else "*"
