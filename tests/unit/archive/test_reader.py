"""What of an archive is not read, and that it is counted."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.archive.files import GrowingFile
from crawler.archive.reader import ArchiveReader
from crawler.archive.records import packed, page_of, warcinfo
from crawler.parsing.limits import ParseLimits
from crawler.program import DISTRIBUTION
from tests.unit.archive.pages import page

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>x</p>"
HTTP = "application/http; msgtype="


def read(*sources: Path, job: str = "") -> ArchiveReader:
    reader = ArchiveReader(sources, job=job, most_bytes=1_000_000, parse_limits=ParseLimits())
    reader.scan()
    return reader


def urls(reader: ArchiveReader) -> list[str]:
    with closing(reader):
        return [kept.request.url for kept in reader]


def record(kind: str, url: str, content_type: str, block: bytes, **fields: str) -> bytes:
    """A record of another tool, without gzip."""
    named = {"WARC-Type": kind, "WARC-Record-ID": f"<urn:uuid:{uuid.uuid4()}>", "WARC-Target-URI": url}
    named |= {"Content-Type": content_type, "Content-Length": str(len(block))}
    named |= {f"WARC-{name.replace('_', '-')}": value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"WARC/1.0\r\n{head}\r\n".encode() + block + b"\r\n\r\n"


def answer(url: str, method: str = "GET") -> list[bytes]:
    """The records of a page, as another tool writes them."""
    response = record("response", url, f"{HTTP}response", ANSWER)
    id = response.decode().partition("WARC-Record-ID: ")[2].partition("\r\n")[0]
    return [response, record("request", url, f"{HTTP}request", f"{method} / HTTP/1.1".encode(), Concurrent_To=id)]


def pages(number: int) -> list[bytes]:
    return [one for n in range(number) for one in answer(f"http://a.example/{n}")]


def written(path: Path, records: Iterable[bytes]) -> Path:
    """The file; with a gzip member for each record if its name says so."""
    path.write_bytes(b"".join(gzip.compress(one) if path.suffix == ".gz" else one for one in records))
    return path


def ours(number: int) -> list[bytes]:
    """The members of a file of ours: the first, and three for each page, the first two of them together."""
    first = warcinfo("x", [("software", f"{DISTRIBUTION}/0.1.0")])
    return [first, *(part for n in range(number) for part in packed(page_of(*page(f"http://a.example/{n}"), {})))]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_file_that_breaks_off_is_told_and_its_last_page_is_not_read_in_part(
    tmp_path: Path, name: str, cut: int
) -> None:
    file = written(tmp_path / name, [*pages(10), answer("http://a.example/last")[0]])
    if name == "a.warc":
        cut += 4  # without the blank lines at its end a record is whole
    file.write_bytes(file.read_bytes()[:-cut])
    with capture_logs() as logs:
        reader = read(file)
    assert [line["event"] for line in logs] == ["archive_cut"]
    assert reader.left_out == {"unread/cut": 1}
    assert "http://a.example/last" not in urls(reader) or cut == 1  # its answer is whole, the checksum is not


@pytest.mark.parametrize(
    ("name", "at"), [("a.warc", 0), ("a.warc", 0.9), *(("a.warc.gz", at) for at in (0, 0.1, 0.3, 0.5, 0.7, 0.9))]
)
def test_a_page_whose_middle_is_damaged_is_told(tmp_path: Path, name: str, at: float) -> None:
    """At various places of its records. Without gzip there are no checksums, so only damaged heads show."""
    damaged = answer("http://a.example/damaged")
    before, after = written(tmp_path / f"before{name}", pages(5)), written(tmp_path / f"after{name}", pages(5))
    data = written(tmp_path / name, damaged).read_bytes()
    place = int(at * len(data))
    data = data[:place] + b"\xff" * 60 + data[place + 60 :]
    (tmp_path / name).write_bytes(before.read_bytes() + data + after.read_bytes())
    reader = read(tmp_path / name)
    assert reader.left_out.keys() & {"unread/cut", "unread/no_answer"}
    assert len(reader) >= 5


def test_a_whole_file_is_not_told(tmp_path: Path) -> None:
    for name in ("a.warc", "a.warc.gz"):
        assert not read(written(tmp_path / name, pages(3))).left_out
    assert not read(written(tmp_path / "ours", ours(3))).left_out


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.warc.gz", [])).left_out == {"unread/cut": 1}


def test_what_a_killed_worker_left_torn_is_told_apart(tmp_path: Path) -> None:
    """Its members are cut by the repair of the folder; a page whose last record is missing was not committed."""
    for lacking in range(1, 5):
        members = ours(2)
        torn = b"".join(members[:-1]) + members[-1][:-lacking]
        (tmp_path / f"{lacking}.warc.gz.open").write_bytes(torn)
    reader = read(tmp_path)
    assert urls(reader) == ["http://a.example/0"]
    assert reader.left_out == {"unread/torn": 4}


def test_a_torn_page_that_is_the_only_one_is_not_read_as_one_of_another_tool(tmp_path: Path) -> None:
    assert read(written(tmp_path / "x", ours(1)[:-1])).left_out == {"unread/torn": 1}


def test_a_file_that_was_cut_in_what_was_queued_loses_that_page(tmp_path: Path) -> None:
    file = written(tmp_path / "x", ours(2))
    file.write_bytes(file.read_bytes()[:-100])
    reader = read(file)
    assert (urls(reader), reader.left_out) == (["http://a.example/0"], {"unread/cut": 1})


def test_files_of_two_tools_may_be_joined(tmp_path: Path) -> None:
    other = [record("warcinfo", "", "application/warc-fields", b"software: Wget\r\n"), *answer("http://b.example/")]
    file = tmp_path / "x.warc.gz"
    file.write_bytes(b"".join([*ours(1), *(gzip.compress(one) for one in other)]))
    reader = read(file)
    assert (urls(reader), reader.left_out) == (["http://a.example/0", "http://b.example/"], {})


def test_answers_to_forms_of_other_tools_are_counted(tmp_path: Path) -> None:
    records = [
        *answer("http://a.example/"),
        *answer("http://a.example/f", "POST"),
        *answer("http://a.example/g", "PUT"),
    ]
    reader = read(written(tmp_path / "a.warc.gz", records))
    assert (urls(reader), reader.left_out) == (["http://a.example/"], {"unread/form": 2})


def test_urls_that_cannot_be_asked_for_are_counted(tmp_path: Path) -> None:
    records = [*pages(1), *answer(f"http://a.example/{'x' * 9_000}"), *answer("http://[")]
    with capture_logs() as logs:
        reader = read(written(tmp_path / "a.warc.gz", records))
    assert (len(reader), reader.left_out) == (1, {"unread/bad_url": 2})
    assert "longer than 8,192 characters" in logs[0]["why"]


def test_pages_without_an_answer_are_counted_and_what_is_no_page_is_not(tmp_path: Path) -> None:
    others = [
        record("resource", "http://a.example/r", "text/html", b"<p>x</p>"),
        record("continuation", "http://a.example/0", f"{HTTP}response", b"<p>x</p>", Segment_Number="2"),
        record("response", "http://a.example/t", "text/plain", b"x"),
        record("conversion", "http://a.example/0", "text/plain", b"x"),
        record("resource", "metadata://gnu.org/software/wget/warc/wget.log", "text/plain", b"x"),
        record("response", "dns:a.example", "text/dns", b"192.0.2.1"),
    ]
    reader = read(written(tmp_path / "a.warc", [*pages(1), *others]))
    assert (len(reader), reader.left_out) == (1, {"unread/no_answer": 3})


def test_visits_of_other_jobs_are_counted(tmp_path: Path) -> None:
    reader = read(written(tmp_path / "x", ours(3)), job="other")
    assert (len(reader), reader.left_out) == (0, {"unread/other_job": 3})


@pytest.mark.parametrize("name", ["x.arc", "x.arc.gz"])
def test_pages_of_arc_files_are_read(tmp_path: Path, name: str) -> None:
    """The form that was in use before WARC."""
    about = b"1 0 test\nURL IP-address Archive-date Content-type Archive-length\n"
    records = [b"filedesc://x.arc 0.0.0.0 20060101000000 text/plain %d\n%b\n" % (len(about), about)]
    for number in range(3):
        head = b"http://a.example/%d 192.0.2.1 20060101000000 text/html %d\n" % (number, len(ANSWER))
        records.append(head + ANSWER + b"\n")
    records.append(b"dns:a.example 192.0.2.1 20060101000000 text/dns 9\n192.0.2.1\n")
    reader = read(written(tmp_path / name, records), written(tmp_path / "y.warc.gz", answer("http://b.example/")))
    assert urls(reader) == [*(f"http://a.example/{number}" for number in range(3)), "http://b.example/"]
    assert not reader.left_out
    with closing(reader):
        kept = next(iter(reader))
        response = kept.answer(kept.request)
    assert (response.status, response.body, str(response.ip_address)) == (200, b"<p>x</p>", "192.0.2.1")


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    """Those of a worker that lives, those in folders below, and those that are compressed in another way."""
    written(tmp_path / "a.warc.gz", pages(1))
    (tmp_path / "below").mkdir()
    written(tmp_path / "below" / "b.warc.gz", pages(1))
    for name in ("c.warc.zst", "d.wacz", "pages.warc.gz.cdx", "e.warc.gz.sha1"):
        (tmp_path / name).touch()
    lives = GrowingFile(tmp_path / "f.warc.gz", warcinfo("f", []))
    lives.sync()
    with capture_logs() as logs:
        reader = read(tmp_path)
    assert reader.left_out == {"unread/open": 1, "unread/other_files": 3}
    assert {line["event"] for line in logs} == {"archive_still_written", "archive_not_read"}
