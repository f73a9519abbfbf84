"""Memory that a worker process shares with its supervisor: the page being parsed, since when; and the worker's lease.

When a page kills its process (out of memory, a crash in a library) or never lets go of it (an endless loop),
the supervisor reads here which page to blame, and by which rules of its spider it is tried again. The other requests of
the process are innocent. As long as such a page lets no
heartbeat through, the supervisor renews the lease (`LeaseClock`), and the worker must learn of it.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time

import msgspec
from msgspec.structs import replace

from crawler.model import Lease, Request
from crawler.policy import RetryPolicy
from crawler.worker.lease import CELL_BYTES

_AT = CELL_BYTES  # where the page begins; the lease comes first
_HEAD = struct.Struct("=dI")  # since (monotonic seconds, the same clock in both processes), length
_TEXT_AT = _AT + _HEAD.size
SIZE = 2 * 1024 * 1024  # room for the longest message there is; what is not written to takes no memory


class Page(msgspec.Struct, frozen=True, array_like=True):
    """A page that is being parsed, and how stubborn its spider is."""

    lease: Lease
    retry: RetryPolicy


class Parsing(msgspec.Struct, frozen=True):
    """What the slot says: this page, for that many seconds."""

    page: Page
    seconds: float


class Slot:
    """Either end of the shared memory. The worker writes, the supervisor reads."""

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor`: inherited by the worker; None makes a new one (supervisor)."""
        self.descriptor = _new_memory() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, SIZE)
        self.lease = memoryview(self._memory)[:CELL_BYTES].cast("d")
        self._open: list[Page] = []

    def enter(self, lease: Lease, retry: RetryPolicy) -> None:
        """The worker begins to parse it; `retry` is that of its spider."""
        page = Page(lease, retry)
        self._note(page)
        self._open.append(page)

    def leave(self, lease: Lease) -> None:
        """The worker has finished with it. Async callbacks may overlap: then the one begun last is named."""
        self._open = [page for page in self._open if page.lease is not lease]
        if self._open:
            self._note(self._open[-1])
        else:
            _HEAD.pack_into(self._memory, _AT, 0.0, 0)

    def read(self) -> Parsing | None:
        """None: nothing is being parsed."""
        since, length = _HEAD.unpack_from(self._memory, _AT)
        if not length:
            return None
        try:
            page = msgspec.msgpack.decode(self._memory[_TEXT_AT : _TEXT_AT + length], type=Page)
        except ValueError:  # not always msgspec's own: text may be torn within a character
            return None  # read in the very moment of writing
        return Parsing(page, time.monotonic() - since)

    def clear(self) -> None:
        """For the next process that gets this slot."""
        _HEAD.pack_into(self._memory, _AT, 0.0, 0)

    def _note(self, page: Page) -> None:
        # The message says it all; what was read from it may be large, and hold numbers that msgpack cannot.
        lease = replace(page.lease, request=Request(page.lease.request.url))
        text = msgspec.msgpack.encode(Page(lease, page.retry))
        _HEAD.pack_into(self._memory, _AT, 0.0, 0)  # never an old head over new bytes
        self._memory[_TEXT_AT : _TEXT_AT + len(text)] = text
        _HEAD.pack_into(self._memory, _AT, time.monotonic(), len(text))


class NoSlot:
    """For a worker without a supervisor."""

    lease = None

    def enter(self, lease: Lease, retry: RetryPolicy) -> None:
        """Nobody is watching."""

    def leave(self, lease: Lease) -> None:
        """Nobody is watching."""


def _new_memory() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("crawler-slot", 0)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, SIZE)
    os.set_inheritable(descriptor, True)
    return descriptor
