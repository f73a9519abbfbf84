"""The user's own code in a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crawler.parsing.url import canonical
from crawler.runtime.tracebacks import told, told_stack, user_line

HERE = Path(__file__)


def caught(call: Callable[[], object]) -> BaseException:
    """What the call raises."""
    with pytest.raises(Exception) as found:  # noqa: PT011 - any
        call()
    return found.value


def price(text: str) -> float:
    """Fail for one reason behind another."""
    try:
        return float(text)
    except ValueError as error:
        raise LookupError("no price") from error


def code_at(line: str) -> str:
    """The code at such a line of this file."""
    file, _, number = line.partition(":")
    assert Path(file).absolute() == HERE
    return HERE.read_text().splitlines()[int(number) - 1].strip()


def test_the_deepest_line_of_the_users_code_is_named_and_the_crawlers_frames_are_left_out() -> None:
    line, whole = told(caught(lambda: canonical("nowhere")))
    assert 'canonical("nowhere")' in code_at(line)
    assert "BadUrl" in whole
    assert "parsing/url.py" not in whole


def test_frames_of_libraries_stay() -> None:
    line, whole = told(caught(lambda: json.loads("{")))
    assert 'json.loads("{")' in code_at(line)
    assert "json/decoder.py" in whole


def test_the_cause_stays() -> None:
    line, whole = told(caught(lambda: price("£1.37")))
    assert code_at(line).startswith("raise LookupError")
    assert "could not convert string to float" in whole


def test_a_stack_that_faulthandler_wrote_is_told_the_deepest_last() -> None:
    dump = (
        "Current thread 0x00007f (most recent call first):\n"
        f'  File "{json.__file__}", line 5 in loads\n'
        '  File "/elsewhere/prices.py", line 4 in price\n'
        '  File "/elsewhere/shop.py", line 3 in parse\n'
        '  File "<frozen runpy>", line 1 in _run\n'
    )
    line, stack = told_stack(dump)
    assert line == "/elsewhere/prices.py:4"
    assert [row.split()[-1] for row in stack.splitlines() if row.startswith("  File")] == [
        *("parse", "price", "loads"),
    ]
    assert told_stack("") == ("", "")


@pytest.mark.parametrize(
    ("frames", "line"),
    [
        ([("shop.py", 3), ("prices.py", 4), (json.__file__, 5)], "prices.py:4"),
        ([(json.__file__, 5), (pytest.__file__, 6), ("<frozen importlib>", 7), ("<string>", 8)], ""),
        ([(str(Path.cwd() / "spiders" / "shop.py"), 3)], "spiders/shop.py:3"),
        ([("/elsewhere/shop.py", 3)], "/elsewhere/shop.py:3"),
        ([], ""),
    ],
)
def test_which_lines_are_the_users(frames: list[tuple[str, int]], line: str) -> None:
    assert user_line(frames) == line
