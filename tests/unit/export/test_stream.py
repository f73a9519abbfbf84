"""Items into a pipe or device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crawler.errors import OutputClosed, OutputError
from crawler.export.sinks.stream import STDOUT, StreamSink, is_stream
from crawler.model import Exported, OutboxEntry

ENTRY = OutboxEntry(0, "1-0", (b"{}",))
BEFORE = Exported({0: "1-0"}, STDOUT)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_what_is_a_stream(tmp_path: Path, pipe: Path) -> None:
    assert [is_stream(path) for path in (pipe, Path("/dev/null"), tmp_path, tmp_path / "none")] == [
        *(True, True, False, False)
    ]


def test_a_pipe_without_a_reader_is_an_error_at_once(pipe: Path) -> None:
    with pytest.raises(OutputError, match="nobody reads the pipe"):
        StreamSink(str(pipe)).open(Exported())


def test_a_reader_of_the_pipe_gets_the_lines_and_its_end_is_the_end(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = StreamSink(str(pipe))
    sink.open(Exported())
    sink.write([ENTRY])
    assert os.read(reader, 1000) == b"{}\n"
    os.close(reader)
    with pytest.raises(OutputClosed, match="stays in the outbox"):
        sink.write([OutboxEntry(0, "2-0", (b"{}",))])
    sink.close()


def test_items_that_went_elsewhere_are_named_unless_only_the_rest_is_wanted() -> None:
    with pytest.raises(OutputError, match="went to standard output"):
        StreamSink("/dev/null").open(BEFORE)
    for sink in (StreamSink("/dev/null", append=True), StreamSink(STDOUT)):
        sink.open(BEFORE)
        sink.close()
