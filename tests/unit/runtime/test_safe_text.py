"""Nothing from the web steers a terminal, and no password is shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.runtime.safe_text import printable, printable_lines, shown, without_password


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain text, naïve café, 日本語, a\u00a0b", "plain text, naïve café, 日本語, a\u00a0b"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("line\r\nERROR forged", r"line\r\nERROR forged"),
        ("\x9b31m\x85\x7f\x00", r"\x9b31m\x85\x7f\x00"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("moc.\u202eelpmaxe", r"moc.\u202eelpmaxe"),
        ("\ud800 alone", r"\ud800 alone"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_its_escape(text: str, safe: str) -> None:
    assert printable(text) == safe


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_written_and_holds_no_control_character(text: str) -> None:
    safe = shown(text)
    assert safe.encode().decode() == safe
    assert not [character for character in safe if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")]


def test_a_traceback_keeps_its_lines() -> None:
    assert printable_lines("one\n\ttwo\x1b[0m\r") == "one\n\ttwo\\x1b[0m\\r"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("redis://:geheim@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:geheim@host/0 refused", "rediss://user:***@host/0 refused"),
        ("redis://geheim@host/0 refused", "redis://***@host/0 refused"),
        ("valkeys+cluster://geheim@host1,host2", "valkeys+cluster://***@host1,host2"),
        ("sentinel://geheim@host1;sentinel://:geheim@host2", "sentinel://***@host1;sentinel://:***@host2"),
        ("redis://:geh/e@im@host/0", "redis://:***@host/0"),
        ("unix://:geheim@/run/valkey.sock", "unix://:***@/run/valkey.sock"),
        ("redis://host/0?password=geheim&x=1", "redis://host/0?password=***&x=1"),
        ("redis+sentinel://h/shop?sentinel_password=geheim", "redis+sentinel://h/shop?sentinel_password=***"),
        ("https://me:geheim@example.com/a?b=c@d", "https://***@example.com/a?b=c@d"),
        ("https://example.com/@someone", "https://example.com/@someone"),
        ("https://example.com/?u=a@b", "https://example.com/?u=a@b"),
        ("HTTP://me:geheim@example.com", "HTTP://***@example.com"),
        ("no URL: a@b", "no URL: a@b"),
        ("redis://host:6379/0 and me@host", "redis://host:6379/0 and me@host"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, safe: str) -> None:
    assert without_password(text) == safe
