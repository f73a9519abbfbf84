"""Memory that a worker process shares with its supervisor: the page being parsed or the spider being made, since when,
the worker's lease, and whether the worker has come to its end.

When a page kills its process (out of memory, a crash in a library) or never returns control (an endless loop), the
supervisor reads here which page to blame, and by which retry rules of its spider. The other requests of the process are
innocent. If a spider kills its process while it is made, all requests are innocent. While such a page blocks the
heartbeat, the
supervisor renews the lease (`LeaseClock`) and records that here for the worker.

A spider's code may end its process with any exit code, so a code means what `errors.Exit` says only if the worker has
recorded here that it ends by itself.

After the page, this memory has room for the worker's stack, which the worker writes when the supervisor asks for it and
when a library crashes.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import msgspec
from msgspec.structs import replace

from crawler.model import Lease, Request
from crawler.policy import RetryPolicy
from crawler.worker.lease import CELL_BYTES

_ENDED_AT = CELL_BYTES  # the lease comes first
_AT = _ENDED_AT + 1  # where the page begins
_HEAD = struct.Struct("=dI")  # since (monotonic seconds, the same clock in both processes), length
_TEXT_AT = _AT + _HEAD.size
STACK_SIGNAL = signal.SIGUSR1  # asks the worker for its stack
MAX_STACK = 64 * 1024  # bytes that are read of it
SIZE = 2 * 1024 * 1024  # room for the longest message; unwritten pages take no memory


class Page(msgspec.Struct, frozen=True, array_like=True, tag="page"):
    """A page that is being parsed, and the retry rules of its spider."""

    lease: Lease
    retry: RetryPolicy


class Making(msgspec.Struct, frozen=True, array_like=True, tag="spider"):
    """A spider that is being made for a job."""

    epoch: str  # of the job
    spider: str


class Work(msgspec.Struct, frozen=True):
    """The content of the slot: what the worker's only thread is doing, and for how many seconds."""

    on: Page | Making
    seconds: float


class Slot:
    """One end of the shared memory. The worker writes, the supervisor reads."""

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor` is the one that the worker inherited; None creates new memory (supervisor)."""
        self.descriptor = _new_memory() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, SIZE)
        self.lease = memoryview(self._memory)[:CELL_BYTES].cast("d")
        self._open: list[Page] = []

    def enter(self, lease: Lease, retry: RetryPolicy) -> None:
        """Record that the worker begins to parse the page; `retry` are the rules of its spider."""
        page = Page(lease, retry)
        self._note(page)
        self._open.append(page)

    def leave(self, lease: Lease) -> None:
        """Record that the worker has finished with the page. Async callbacks may overlap; the slot names the latest."""
        self._open = [page for page in self._open if page.lease is not lease]
        self._note_latest()

    @contextmanager
    def making(self, epoch: str, spider: str) -> Iterator[None]:
        """Record that the worker makes a spider for the job of that epoch."""
        self._write(Making(epoch, spider))
        try:
            yield
        finally:
            self._note_latest()

    def read(self) -> Work | None:
        """Return what the worker is doing; None if it neither parses a page nor makes a spider."""
        since, length = _HEAD.unpack_from(self._memory, _AT)
        if not length:
            return None
        try:
            on = msgspec.msgpack.decode(self._memory[_TEXT_AT : _TEXT_AT + length], type=Page | Making)
        except ValueError:  # also `UnicodeDecodeError`, if text is torn within a character
            return None  # read while the worker writes
        return Work(on, time.monotonic() - since)

    def end(self) -> None:
        """Record that this process is about to end by itself, with an exit code of `errors.Exit`."""
        self._memory[_ENDED_AT] = True

    @property
    def has_ended(self) -> bool:
        """Whether the process ended by itself; if not, its exit code means nothing."""
        return bool(self._memory[_ENDED_AT])

    def write_stacks(self) -> None:
        """Let this process write its stack into the slot at `STACK_SIGNAL` or a crash, whatever it is doing."""
        os.lseek(self.descriptor, SIZE, os.SEEK_SET)
        faulthandler.register(STACK_SIGNAL, file=self.descriptor, all_threads=False)
        faulthandler.enable(file=self.descriptor, all_threads=False)

    def read_stack(self) -> str:
        """Return what the process wrote; empty if nothing."""
        return os.pread(self.descriptor, MAX_STACK, SIZE).decode("utf-8", "replace")

    def clear(self) -> None:
        """Empty the slot for the next process that gets it."""
        os.ftruncate(self.descriptor, SIZE)
        self._memory[_ENDED_AT] = False
        _HEAD.pack_into(self._memory, _AT, 0.0, 0)

    def _note_latest(self) -> None:
        if self._open:
            self._note(self._open[-1])
        else:
            _HEAD.pack_into(self._memory, _AT, 0.0, 0)

    def _note(self, page: Page) -> None:
        # The message contains the request. The parsed one may be large, and hold numbers that msgpack cannot encode.
        lease = replace(page.lease, request=Request(page.lease.request.url))
        self._write(Page(lease, page.retry))

    def _write(self, on: Page | Making) -> None:
        text = msgspec.msgpack.encode(on)
        _HEAD.pack_into(self._memory, _AT, 0.0, 0)  # never an old head over new bytes
        self._memory[_TEXT_AT : _TEXT_AT + len(text)] = text
        _HEAD.pack_into(self._memory, _AT, time.monotonic(), len(text))


class NoSlot:
    """A slot for a worker without a supervisor."""

    lease = None

    def enter(self, lease: Lease, retry: RetryPolicy) -> None:
        """Do nothing."""

    def leave(self, lease: Lease) -> None:
        """Do nothing."""

    def making(self, epoch: str, spider: str) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()


def _new_memory() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("crawler-slot", 0)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, SIZE)
    os.set_inheritable(descriptor, True)
    return descriptor
