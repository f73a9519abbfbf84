"""Memory that a worker process shares with its supervisor: which page is being parsed, since when; and its lease.

When a page kills its process (out of memory, a crash in a library) or never lets go of it (an endless loop),
the supervisor reads here whom to blame. The other requests of the process are innocent. As long as such a page lets no
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
from crawler.worker.lease import CELL_BYTES

_AT = CELL_BYTES  # where the page begins; the lease comes first
_HEAD = struct.Struct("=dI")  # since (monotonic seconds, the same clock in both processes), length
_TEXT_AT = _AT + _HEAD.size
SIZE = 2 * 1024 * 1024  # room for the longest message there is; what is not written to takes no memory


class Parsing(msgspec.Struct, frozen=True):
    """What the slot says: this lease, for that many seconds."""

    lease: Lease
    seconds: float


class Slot:
    """Either end of the shared memory. The worker writes, the supervisor reads."""

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor`: inherited by the worker; None makes a new one (supervisor)."""
        self.descriptor = _new_memory() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, SIZE)
        self.lease = memoryview(self._memory)[:CELL_BYTES].cast("d")
        self._open: list[Lease] = []

    def enter(self, lease: Lease) -> None:
        """The worker begins to parse it."""
        self._note(lease)
        self._open.append(lease)

    def leave(self, lease: Lease) -> None:
        """It is done with it. Async callbacks may overlap: then the one begun last is named."""
        self._open.remove(lease)
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
            lease = msgspec.msgpack.decode(self._memory[_TEXT_AT : _TEXT_AT + length], type=Lease)
        except ValueError:  # not always msgspec's own: text may be torn within a character
            return None  # read in the very moment of writing
        return Parsing(lease, time.monotonic() - since)

    def clear(self) -> None:
        """For the next process that gets this slot."""
        _HEAD.pack_into(self._memory, _AT, 0.0, 0)

    def _note(self, lease: Lease) -> None:
        # The message says it all; what was read from it may be large, and hold numbers that msgpack cannot.
        text = msgspec.msgpack.encode(replace(lease, request=Request(lease.request.url)))
        _HEAD.pack_into(self._memory, _AT, 0.0, 0)  # never an old head over new bytes
        self._memory[_TEXT_AT : _TEXT_AT + len(text)] = text
        _HEAD.pack_into(self._memory, _AT, time.monotonic(), len(text))


class NoSlot:
    """For a worker without a supervisor."""

    lease = None

    def enter(self, lease: Lease) -> None:
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
