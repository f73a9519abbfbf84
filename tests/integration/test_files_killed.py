"""An exporter to a file that is killed again and again, between system calls and within them: rows exactly once.

The long form, with 100 kills and 9,000 rows a format: `python -m tests.integration.test_files_killed 100 9000`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.sinks.file import FileSink
from crawler.export.sinks.in_thread import BlockingSink
from crawler.export.sinks.rolling import Limits, RollingSink
from crawler.model import Exported, OutboxEntry
from tests.unit.export.test_formats import READERS

KILLS, ROWS = 6, 300
PAGE = 3  # rows
CHANGES = {"open", "flock", "write", "fdatasync", "fsync", "ftruncate", "replace", "unlink", "close"}
NAMES = [*(f"items.{ending}" for ending in ENCODINGS), "items-%(batch_id)d.jsonl", "items-%(batch_id)d.json"]

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


def sink_of(path: Path) -> BlockingSink:
    encoding = ENCODINGS[path.name.partition(".")[2]]
    if "%" not in path.name:
        return FileSink(path, "e1", encoding(()))
    return RollingSink(str(path), "e1", lambda part: FileSink(part, "e1", encoding(()), append=True), Limits(items=40))


def export(path: Path, rows: int, seed: int) -> None:
    """What an exporter does: write what its sink lacks, and note what the sink has. `seed` says when it is killed."""
    noted = path.parent / "noted"
    acknowledged = json.loads(noted.read_text()) if noted.exists() else {}
    sink = sink_of(path)
    if seed:
        die(random.Random(seed))
    positions = dict(sink.open(Exported({int(shard): at for shard, at in acknowledged.items()}, sink.location)))
    entries = [
        OutboxEntry(
            page % 2, f"{page + 1}-0", tuple(b'{"n":%d,"text":"a\\nb"}' % (PAGE * page + n) for n in range(PAGE))
        )
        for page in range(rows // PAGE)
    ]
    left = [entry for entry in entries if int(entry.position[:-2]) > int(positions.get(entry.shard, "0-0")[:-2])]
    for at in range(0, len(left), 7):
        batch = left[at : at + 7]
        sink.write(batch)
        positions |= {entry.shard: entry.position for entry in batch}
        new = noted.with_name("new")
        new.write_text(json.dumps(positions))
        new.rename(noted)
    sink.finish()
    sink.close()


def die(chance: random.Random) -> None:
    """Have this process killed: before a certain change that it makes, or at some moment."""
    if chance.random() < 0.3:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.001, 0.03))  # nobody handles its signal
        return
    steps, last = count(), chance.randrange(60)

    def watch(frame: FrameType, event: str, what: Any) -> None:
        is_change = event == "c_call" and what.__name__ in CHANGES and "sinks" in frame.f_code.co_filename
        if is_change and next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def killed(path: Path, kills: int, rows: int) -> Counter[int]:
    """Kill so many exporters, let the last one finish; return how often each row is there."""
    died = 0
    for seed in count(1):
        ends = died >= kills
        process = processes.Process(target=export, args=(path, rows, 0 if ends else seed))
        process.start()
        process.join(120)
        assert process.exitcode in (0, -signal.SIGKILL, -signal.SIGALRM), process.exitcode
        died += bool(process.exitcode)
        if ends or not process.exitcode:
            break
    ending = path.name.partition(".")[2]
    whole = [file for file in path.parent.iterdir() if file.name.endswith(ending)]
    return Counter(n for file in whole for n in READERS[ending](file.read_bytes()))


@pytest.mark.parametrize("name", NAMES)
def test_killed_again_and_again_each_row_is_there_once(tmp_path: Path, name: str) -> None:
    assert killed(tmp_path / name, KILLS, ROWS) == Counter(range(ROWS))


def main(kills: int, rows: int) -> None:
    """The long form, for every format."""
    for name in NAMES:
        with TemporaryDirectory() as folder:
            began, found = time.monotonic(), killed(Path(folder) / name, kills, rows)
            twice, missing = sum(n - 1 for n in found.values()), rows - len(found)
            seconds = time.monotonic() - began
            print(
                f"{name:26} {kills} kills, {rows} rows: missing {missing}, twice {twice}, {seconds:.0f} s", flush=True
            )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
