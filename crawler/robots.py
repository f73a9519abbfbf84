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
from crawler.parsing.robots import ALLOW_ALL, DISALLOW_ALL, MAX_BYTES, Robots

Kind = Literal["rules", "allow", "disallow"]

MAX_REDIRECTS = 5
"""Redirects that are followed for robots.txt, to other hosts, too."""

MAX_SECONDS = 86_400.0
"""How long an answer may be used (§2.4)."""

_KEPT_BYTES = MAX_BYTES + 4  # a byte order mark, and one more that tells the parser that the last line is cut

UNREACHABLE_SECONDS = 300.0
"""How long a host without an answer is left alone before robots.txt is asked for again."""


class RobotsAnswer(Struct, frozen=True):
    """One host's answer, as the fleet shares it: the body matters when `kind` is "rules"."""

    kind: Kind
    seconds: float  # how long it may be used
    body: bytes = b""

    def rules(self) -> Robots:
        """The verdicts that follow from it."""
        if self.kind == "rules":
            return Robots.parse(self.body)
        return ALLOW_ALL if self.kind == "allow" else DISALLOW_ALL

    def encode(self) -> bytes:
        """As bytes: a line with kind and seconds, then the body. Readable in the queue server."""
        return f"{self.kind} {self.seconds:.3f}\n".encode() + self.body

    @staticmethod
    def decode(data: bytes) -> RobotsAnswer | None:
        """The inverse of `encode`; None when another version wrote it: ask the host again."""
        head, _, body = data.partition(b"\n")
        kind, _, seconds = head.decode("latin-1").partition(" ")
        if kind not in get_args(Kind) or not re.fullmatch(r"[0-9]{1,9}\.[0-9]{3}", seconds, re.ASCII):
            return None
        return RobotsAnswer(kind, float(seconds), body)  # type: ignore[arg-type]


def verdict_source(answer: int | FetchError, body: bytes = b"", *, seconds: float = MAX_SECONDS) -> RobotsAnswer:
    """What a final status, or the failure to get one, means. A good one may be used for `seconds`."""
    if isinstance(answer, FetchError):
        return RobotsAnswer("disallow", UNREACHABLE_SECONDS)
    if 200 <= answer < 300:
        return RobotsAnswer("rules", min(seconds, MAX_SECONDS), body[:_KEPT_BYTES])
    if 300 <= answer < 500 and answer != 429:
        return RobotsAnswer("allow", min(seconds, MAX_SECONDS))
    return RobotsAnswer("disallow", UNREACHABLE_SECONDS)


def agent_token(user_agent: str) -> str:
    """The product token that groups of robots.txt are matched with: "Example" of "Example/1.0 (+https://…)".

    Of a browser's disguise, "Mozilla/5.0 (compatible; Example/1.0)", it is the compatible one. "*" when
    there is none.
    """
    disguised = re.match(r"Mozilla/\S+ \(compatible;\s*([A-Za-z0-9_.-]+)", user_agent)
    plain = re.match(r"\s*([A-Za-z0-9_.-]+)", user_agent)
    found = disguised or plain
    return found[1] if found else "*"
