"""Options: what can hold only one value is given once, and a file's ending tells the truth."""

from __future__ import annotations

import pytest

from crawler.cli import main
from crawler.cli.options import spider_arguments
from crawler.errors import Exit, UsageError

URL = "http://127.0.0.1/"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["crawl", URL, "-o", "a.jsonl", "-o", "a.jsonl"], "a.jsonl is named 2 times; name each output once"),
        (["crawl", URL, "-o", "a.jsonl", "--output", "b.jsonl", "-O", "a.jsonl"], "a.jsonl is named 2 times"),
        (["crawl", URL, "-o", "a.jsonl", "-o", "./a.jsonl"], "a.jsonl and ./a.jsonl are the same output; name it once"),
        (["export", "-o", "amqp://u:pw@h?exchange=", "-o", "amqp://u:pw@h?exchange="], "amqp://u:***@h?exchange= is"),
        (["seed", URL, "--job", "a", "--job", "b", "--job", "c"], "--job is given 3 times"),
        (["crawl", URL, "-O", "x.txt"], "no output has the ending .txt; there are .jsonl, "),
        (["crawl", URL, "-O", "x.txt.gz"], "no output has the ending .gz"),
        (["crawl", URL, "-o", "kafka://h/items"], "kafka://h/items: items go to a file, to stdout (-) or to "),
    ],
)
def test_what_would_be_ignored_or_a_lie_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == Exit.USAGE
    assert told in capsys.readouterr().err


def test_an_argument_has_one_value() -> None:
    assert spider_arguments(["a=1", "b=1"]) == {"a": "1", "b": "1"}
    with pytest.raises(UsageError, match="-a a=… is given twice"):
        spider_arguments(["a=1", "a=2"])
