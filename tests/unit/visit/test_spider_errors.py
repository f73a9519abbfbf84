"""Errors of one kind are logged in full once, then counted."""

from __future__ import annotations

from structlog.testing import capture_logs

from crawler.model import Failure, Lease, Request
from crawler.visit.spider_errors import SpiderErrors

LEASE = Lease("news", Request("http://a.example/"), b"", "a.example")


def failure(line: str) -> Failure:
    """A failure at that line."""
    return Failure("callback", "ValueError: no price", traceback=f"at {line}\n", error="ValueError", line=line)


def test_each_kind_is_logged_in_full_once_and_then_at_powers_of_ten() -> None:
    errors = SpiderErrors()
    with capture_logs() as logs:
        for _ in range(100):
            errors.say(LEASE, "shop", "parse", failure("shop.py:7"))
        errors.say(LEASE, "shop", "parse", failure("shop.py:8"))
    told = [(one["event"], one["line"], one.get("times"), one.get("exception")) for one in logs]
    assert told == [
        ("callback_failed", "shop.py:7", None, "at shop.py:7"),
        ("callback_failed_again", "shop.py:7", 10, None),
        ("callback_failed_again", "shop.py:7", 100, None),
        ("callback_failed", "shop.py:8", None, "at shop.py:8"),
    ]
