"""An exporter to Parquet that ends before any change that it makes to the disk: each item is in the folder once.

What kill -9 leaves is what the disk has at that instant, so this copies it before each change, and goes on from each
copy. `scripts/chaos` kills processes.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawler.export.sinks.parquet import ParquetSink
from crawler.model import Exported, OutboxEntry

CHANGES = {"open", "flock", "write", "fdatasync", "fsync", "ftruncate", "rename", "mkdir", "rmdir", "unlink", "close"}
FILES = ("sinks", "pathlib", "shutil")  # whose calls are counted

WANTED = list(range(8))
ENTRIES = [OutboxEntry(n % 4 // 2, f"{n}-0", (b'{"n":%d}' % n, b'{"n":%d}' % (n + 1))) for n in WANTED[::2]]


def export(path: Path, epoch: str, entries: list[OutboxEntry], *, overwrite: bool) -> None:
    """What an exporter does whose acknowledgements come too late."""
    sink = ParquetSink(path, epoch, overwrite=overwrite, most_items=3)
    try:
        found = sink.open(Exported())
        for entry in entries:
            if found.get(entry.shard, "") < entry.position:
                sink.write([entry])
        sink.finish()
    finally:
        sink.close()


def copies(folder: Path, path: Path, overwrite: bool) -> Iterator[Path]:
    """Export to the path, which is in the folder. Return copies of the folder as it is before each change."""
    made: list[Path] = []

    def watch(frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call" and what.__name__ in CHANGES and any(n in frame.f_code.co_filename for n in FILES):
            sys.setprofile(None)
            made.append(folder.with_name(f"copy{len(made)}"))
            shutil.copytree(folder, made[-1])
            sys.setprofile(watch)

    sys.setprofile(watch)
    try:
        export(path, "e1", ENTRIES, overwrite=overwrite)
    finally:
        sys.setprofile(None)
    return iter(made)


def numbers(path: Path) -> list[int]:
    return sorted(n for file in path.glob("*.parquet") for n in pq.read_table(file).column("n").to_pylist())


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_at_any_step_each_item_is_there_once(tmp_path: Path, overwrite: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if overwrite:
        export(folder / "items.parquet", "e0", [OutboxEntry(0, "1-0", (b'{"n":-1}',))], overwrite=False)
    steps = 0
    for steps, copy in enumerate(copies(folder, folder / "items.parquet", overwrite), 1):
        path = copy / "items.parquet"
        if overwrite and path.exists():
            assert numbers(path) in ([-1], WANTED), f"step {steps}: only a whole folder replaces the old one"
        export(path, "e1", ENTRIES, overwrite=overwrite)
        assert numbers(path) == WANTED, f"step {steps}"
        assert os.listdir(copy) == ["items.parquet"], f"step {steps}"
        assert all(name.startswith("part-") for name in os.listdir(path)), f"step {steps}"
    assert steps > 30
