"""Reads a body that comes in chunks (RFC 9112 §7.1) as browsers do, and writes it anew for aiohttp's parser."""

from __future__ import annotations

import re

from aiohttp import ClientPayloadError

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;|$)").match
_KEPT = 64  # bytes of a line: an extension, which may follow the size, means nothing to us

LAST = b"0\r\n\r\n"


# What comes next: the line with a chunk's size, its data, the end of its last line, a trailer or the empty line behind
# them all, nothing.
_SIZE_LINE, _DATA, _END, _TRAILER, _NOTHING = range(5)


class Chunks:
    """Lines may end with a line feed alone, and trailers are dropped, whatever they are."""

    def __init__(self) -> None:
        self._next = _SIZE_LINE
        self._left = 0  # bytes of the chunk
        self._line = b""  # the beginning of a line, as far as it has come
        self.is_odd = False
        """Whether a line was not as it should be, or had no meaning for us."""

    @property
    def has_ended(self) -> bool:
        """Whether the body and its trailers have ended."""
        return self._next == _NOTHING

    @property
    def is_complete(self) -> bool:
        """Whether the last chunk has come, behind which there is no more body."""
        return self._next in (_TRAILER, _NOTHING)

    def feed(self, piece: bytes, out: bytearray) -> bytes:
        """Write the chunks in `piece` to `out`. Returns what lies behind the body's end.

        Raises `ClientPayloadError` for what is no chunk; the chunks before it are in `out`.
        """
        at = 0
        while at < len(piece) and self._next != _NOTHING:
            if self._next == _DATA:
                data = piece[at : at + self._left]
                at += len(data)
                self._left -= len(data)
                out += b"%x\r\n%b\r\n" % (len(data), data)
                if not self._left:
                    self._next = _END
                continue
            end = piece.find(b"\n", at)
            line = (self._line + piece[at : end if end >= 0 else len(piece)])[:_KEPT]
            if end < 0:
                self._line = line
                return b""
            at, self._line = end + 1, b""
            mended = line.strip(b" \t\r")
            self.is_odd |= line != mended + b"\r"
            self._next = self._after(mended, out)
        return piece[at:]

    def _after(self, line: bytes, out: bytearray) -> int:
        """What follows a line."""
        if self._next == _TRAILER:
            if line:
                self.is_odd = True
                return _TRAILER
            out += LAST
            return _NOTHING
        if self._next == _END and not line:
            return _SIZE_LINE
        found = _SIZE(line) if self._next == _SIZE_LINE else None
        if found is None:
            raise ClientPayloadError(f"{line!r} came instead of a chunk")
        self._left = int(found[1], 16)
        return _DATA if self._left else _TRAILER
