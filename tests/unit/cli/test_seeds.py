"""Seeds from arguments, files and pipes; the name that the same seeds always give a crawl; what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli.seeds import Refusals, Seeds, job_name
from crawler.errors import UsageError
from crawler.fetch.guard import AddressGuard
from crawler.frontier.message import check
from crawler.seeding.admission import Admission, NotAdmitted


def test_arguments_come_first_then_files_without_blank_lines_and_comments(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"\xef\xbb\xbfhttp://b/\r\n\r\n  # comment\n\thttp://c/ \n")
    second.write_bytes(b"http://d/\xff")
    seeds = Seeds(["http://a/"], [str(first), str(second)])
    assert list(seeds) == ["http://a/", "http://b/", "http://c/", "http://d/\udcff"]
    assert list(seeds) == list(seeds), "a file can be read again"
    assert seeds.repeatable


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_may_be_in_utf_16(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes such a file for `>`."""
    file = tmp_path / "seeds"
    file.write_bytes("\ufeffhttp://a/\r\n# é\r\nhttp://b/\r\n".encode(encoding))
    assert list(Seeds([], [str(file)])) == ["http://a/", "http://b/"]


@pytest.mark.parametrize(
    "lines",
    [
        b"http://a/caf\xe9\nhttp://a/caf\xe8\n",
        b"\xff\xfe" + "http://a/\ud800\nhttp://a/".encode("utf-16-le", "surrogatepass") + b"\xe9",
    ],
)
def test_bytes_that_are_no_text_stay_apart_and_are_no_seeds(tmp_path: Path, lines: bytes) -> None:
    """A URL would have the same U+FFFD for all of them."""
    file = tmp_path / "seeds"
    file.write_bytes(lines)
    first, second = Seeds([], [str(file)])
    assert first != second
    for seed in (first, second):
        with pytest.raises(NotAdmitted, match="not in UTF-8"):
            Admission(AddressGuard(), check, "site").admit(seed)


def test_files_are_streamed(tmp_path: Path) -> None:
    file = tmp_path / "seeds"
    file.write_text("http://a/\n" * 100_000)
    lines = iter(Seeds([], [str(file)]))
    assert next(lines) == "http://a/"
    file.write_text("")
    assert sum(1 for _ in lines) < 100_000, "most of it had not been read yet"


@pytest.mark.parametrize(("urls", "files"), [(["-"], []), ([], ["-"]), (["http://a/", "-"], [])])
def test_a_pipe_cannot_be_read_twice(urls: list[str], files: list[str]) -> None:
    seeds = Seeds(urls, files)
    assert seeds
    assert not seeds.repeatable


def test_nothing_named_is_nothing() -> None:
    assert not Seeds([], [])


def test_a_file_that_cannot_be_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        Seeds([], [str(tmp_path / "nothing")])
    with pytest.raises(UsageError, match="is a folder"):
        Seeds([], [str(tmp_path)])


@pytest.mark.parametrize("text", ["", "\n\n", "# none today\n\n"])
def test_files_without_a_url_are_refused_by_name_unless_there_are_other_seeds(tmp_path: Path, text: str) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.write_text(text)
    full.write_text("http://a/\n")
    with pytest.raises(UsageError, match=f"no seeds: {empty}: no URL, only blank lines or comments"):
        Seeds([], [str(empty)])
    assert list(Seeds([], [str(empty), str(full)])) == list(Seeds(["http://a/"], [str(empty)])) == ["http://a/"]


# ---------------------------------------------------------------------------------------------------------
# The name of a crawl

NAME = "site-example.com-"


@pytest.mark.parametrize(
    "urls",
    [
        ["https://example.com/"],
        ["https://EXAMPLE.com"],
        ["https://example.com:443/#part"],
    ],
)
def test_spellings_of_the_same_seeds_give_the_same_name(urls: list[str]) -> None:
    assert job_name("site", urls, {}) == job_name("site", ["https://example.com/"], {})


def test_other_seeds_arguments_or_spiders_give_other_names() -> None:
    names = {
        job_name("site", ["https://example.com/"], {}),
        job_name("site", ["https://example.com/", "https://example.com/a"], {}),
        job_name("site", ["https://example.com/a", "https://example.com/"], {}),
        job_name("site", ["http://example.com/"], {}),
        job_name("site", ["https://example.com/"], {"a": "b"}),
        job_name("site", ["https://example.com/"], {"a": "c"}),
        job_name("docs", ["https://example.com/"], {}),
    }
    assert len(names) == 7


def test_the_name_tells_spider_and_host() -> None:
    assert re.fullmatch(r"site-example\.com-[0-9a-f]{8}", job_name("site", ["https://example.com/"], {}))
    assert job_name("site", ["nonsense", "https://example.com/"], {}).startswith(NAME)
    assert re.fullmatch(r"shop-[0-9a-f]{8}", job_name("shop", [], {}))


def test_the_order_of_arguments_does_not_matter() -> None:
    assert job_name("a", [], {"x": "1", "y": "2"}) == job_name("a", [], {"y": "2", "x": "1"})


@given(st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text()))
def test_any_name_can_be_a_file_name(spider: str, urls: list[str], arguments: dict[str, str]) -> None:
    name = job_name(spider, urls, arguments)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,140}", name)


# ---------------------------------------------------------------------------------------------------------
# What was not taken


def test_the_first_refusals_are_told_one_by_one_the_rest_as_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    refusals = Refusals()
    for n in range(1000):
        refusals(f"ftp://a/{n}\x1b[31m", "scheme ftp")
    refusals.close({"bad url": 990, "address not permitted": 10})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 21
    assert said[0] == r"refused ftp://a/0\x1b[31m: scheme ftp"
    assert said[-1] == "refused 1,000 in all: bad url 990, address not permitted 10"


def test_each_refusal_is_told_where_nobody_can_read_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    refusals = Refusals(each=True)
    for n in range(1000):
        refusals(f"ftp://a/{n}", "scheme ftp")
    refusals.close({"bad url": 1000})
    said = capsys.readouterr().err.splitlines()
    assert (len(said), said[-1]) == (1000, "refused ftp://a/999: scheme ftp")


def test_few_refusals_need_no_count(capsys: pytest.CaptureFixture[str]) -> None:
    refusals = Refusals()
    refusals("http://me:geheim@10.0.0.1/", "private")
    refusals.close({"private": 1})
    assert capsys.readouterr().err == "refused http://***@10.0.0.1/: private\n"


def test_stdin_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "pipe"
    file.write_text("http://a/\n# no\nhttp://b/\n")
    with file.open() as stdin:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.FileIO(stdin.fileno(), closefd=False)))
        assert list(Seeds(["-"], [])) == ["http://a/", "http://b/"]
