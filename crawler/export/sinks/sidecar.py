"""`FILE.position`: which items of which crawls are in FILE. One line of JSON, so that a person can read it.

It is written before each block of rows, and tells what the block is: where it will start, its length, and a checksum of
it and of each of its lines. So after a crash the rows of a torn block can be told from lines that somebody else added,
whichever come first, and a block that is whole counts without another write to the disk. A block is torn only if the
sidecar on the disk announces it.

A sidecar vouches for a file that still has, up to `size`, the bytes that it had: it knows the last of them. So it stays
true for a copy in another place, and is not believed for a file that was replaced, cut or edited.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from zlib_ng.zlib_ng import crc32  # ten times as fast as the standard library's

from crawler.errors import OutputError
from crawler.export.sinks import position
from crawler.runtime import disk

ENDING = ".position"
_TAIL = 4096  # bytes before `size` that are compared
_JOBS = 100  # crawls whose positions in one file are kept


class Block(Struct, frozen=True, omit_defaults=True):
    """Rows that are about to be written."""

    positions: str  # of the crawl, once they are there
    length: int  # bytes
    crc: int
    lines: bytes  # CRC-32 of each line, four bytes each
    items: int
    values_left_out: int = 0  # by the crawl, once they are there


class Record(Struct, frozen=True, omit_defaults=True):
    """What is in a file."""

    jobs: tuple[str, ...] = ()  # epoch and positions of each crawl with items in it; the last one wrote last
    size: int = 0  # bytes of the file that this vouches for
    tail: int = 0  # CRC-32 of the last of them
    inode: int = 0  # by which a file is known that was moved without its sidecar
    items: int = 0  # rows that the last crawl has written
    values_left_out: int = 0  # by the last crawl, because the file has no column for them
    block: Block | None = None  # what may stand behind these bytes, whole, in part or not at all

    def vouches_for(self, file: int) -> bool:
        """Return whether the file still is what the record describes."""
        return os.fstat(file).st_size >= self.size and _tail(file, self.size) == self.tail

    def of(self, epoch: str) -> dict[int, str]:
        """Return the positions of a crawl, before the block."""
        return positions_of(self.jobs, epoch)

    def behind(self, epoch: str) -> dict[int, str]:
        """Return the positions of a crawl, behind the block."""
        return positions_of([self.block.positions], epoch) if self.block else self.of(epoch)


def positions_of(jobs: Sequence[str], epoch: str) -> dict[int, str]:
    """Return the positions of a crawl among those of several, as text."""
    return next((found for name, found in map(position.read, jobs) if name == epoch), {})


def path_of(path: Path) -> Path:
    """Return the sidecar of a file: beside the file itself, not beside a link to it."""
    target = path.resolve()
    return target.with_name(target.name + ENDING)


def read(path: Path) -> Record | None:
    """Return what the sidecar at the path says; None if there is none. Raise `OutputError` for any other file."""
    try:
        record = _decoder.decode(path.read_bytes())
        for text in (*record.jobs, *([record.block.positions] if record.block else [])):
            position.read(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise OutputError(
            f"{path} is damaged, so it does not tell which items are in the file beside it: put a copy back, or delete "
            "it and write only later items with -o FILE --append"
        ) from None
    return record


def write(path: Path, record: Struct) -> None:
    """Put the record on the disk; whatever happens, either the old one is there or the new one. Raise `OutputError`."""
    try:
        disk.replace(path, msgspec.json.encode(record) + b"\n", _new(path))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; nothing is lost") from None


def tidy(path: Path) -> None:
    """Remove what a killed process left of a record that it wrote. Only the owner of the file beside it may do so."""
    _new(path).unlink(missing_ok=True)


def move(file: Path, target: Path) -> None:
    """Give the sidecar of a renamed file its name."""
    os.replace(path_of(file), path_of(target))


def record_of(
    file: int, size: int, jobs: tuple[str, ...], items: int, values_left_out: int, block: Block | None = None
) -> Record:
    """Return the record of an open file, whose first `size` bytes are what the crawls have written."""
    return Record(jobs[-_JOBS:], size, _tail(file, size), os.fstat(file).st_ino, items, values_left_out, block)


def block_of(data: bytes, positions: str, items: int, values_left_out: int) -> Block:
    """Return what announces the bytes of so many rows, behind which the crawl has these positions and has left out so
    many values."""
    lines = data.split(b"\n")
    if not lines[-1]:
        del lines[-1]
    crcs = array("I", map(crc32, lines))
    return Block(positions, len(data), crc32(data), crcs.tobytes(), items, values_left_out)


def is_whole(block: Block, behind: bytes) -> bool:
    """Return whether the block is among the bytes where it may stand; others may have added lines before it."""
    if crc32(behind[: block.length]) == block.crc:
        return True
    return len(behind) > block.length and not _lines(block) - Counter(map(crc32, behind.split(b"\n")))


def foreign_lines(block: Block, behind: bytes) -> Iterator[bytes]:
    """Yield the lines that do not belong to the block, with their line breaks."""
    ours = _lines(block)
    for line in _split(behind):
        crc = crc32(line.removesuffix(b"\n"))
        ours[crc] -= 1
        if ours[crc] < 0:
            yield line


_decoder = msgspec.json.Decoder(Record)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _lines(block: Block) -> Counter[int]:
    return Counter(array("I", block.lines))


def _split(data: bytes) -> list[bytes]:
    *lines, last = data.split(b"\n")
    return [*(line + b"\n" for line in lines), *([last] if last else [])]


def _tail(file: int, size: int) -> int:
    length = min(size, _TAIL)
    return crc32(os.pread(file, length, size - length))
