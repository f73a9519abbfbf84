"""Reads one answer as browsers do, from its first byte to its last, and writes it anew for aiohttp's parser."""

from __future__ import annotations

from typing import Final

from aiohttp import ClientPayloadError
from aiohttp.http import HttpProcessingError

from crawler.fetch.chunks import LAST, Chunks
from crawler.fetch.head import find_head, read_any_head

MAX_INTERIM: Final = 16
"""Most interim answers (1xx, RFC 9110 §15.2) before the final one."""

_INTERIM_BYTES = 64 * 1024  # of an answer, after which an interim one is refused
_SWITCHING = 101  # the one 1xx that is final


class Answer:
    """An answer that is being received."""

    def __init__(self, *, has_body: bool = True) -> None:
        """`has_body` is false for the answer to HEAD."""
        self._has_body = has_body
        self._begun: bytearray | None = bytearray()  # the head as far as it has come; None: its body follows
        self._interim = 0
        self._left: int | None = None  # bytes of the body still to come, where a length says so
        self._chunks: Chunks | None = None
        self.head = b""
        """The final head as it was sent, once it is complete."""
        self.received = 0
        """Bytes that have been fed."""
        self.is_odd = False
        """Whether the connection must not be used again."""
        self.has_surplus = False
        """Whether bytes came behind the end of the body: perhaps its rest, behind a length that was too small."""
        self.broken: Exception | None = None
        """Why the body cannot be read to its end."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing if the connection ends now."""
        return self._begun is None and not self._left and (self._chunks is None or self._chunks.has_ended)

    def feed(self, piece: bytes) -> bytes:
        """Read the next bytes. Returns what the parser gets for them.

        Raises `HttpProcessingError` for a head that cannot be read, and for too many interim answers.
        """
        self.received += len(piece)
        data = bytearray()
        if self._begun is not None:
            piece = self._feed_heads(self._begun, piece, data)
        if piece:
            self._feed_body(piece, data)
        return bytes(data)

    def end(self) -> bytes:
        """Take note that nothing more will come. Returns what the parser gets."""
        if self._chunks is None or self._chunks.has_ended or not self._chunks.is_complete:
            return b""
        self._chunks, self.is_odd = None, True
        return LAST

    def _feed_heads(self, begun: bytearray, piece: bytes, data: bytearray) -> bytes:
        """Read heads until the final one has come, and drop interim ones, for which nobody waits. Returns the bytes
        behind it."""
        searched = len(begun)
        begun += piece
        while True:
            if begun.startswith((b"\r", b"\n")):
                begun[:] = begun.lstrip(b"\r\n")
                self.is_odd = True
            if not (end := find_head(begun, searched)):
                return b""
            self.head, rest, searched = bytes(begun[:end]), begun[end:], 0
            head = read_any_head(self.head, has_body=self._has_body)
            self.is_odd |= head.is_odd
            if not 100 <= head.status <= 199 or head.status == _SWITCHING:
                self._begun, self._left = None, head.length
                self._chunks = Chunks() if head.is_chunked else None
                data += head.data
                return bytes(rest)
            self._interim += 1
            if self._interim > MAX_INTERIM or self.received > _INTERIM_BYTES:
                raise HttpProcessingError(
                    message=f"interim answers (1xx): more than {MAX_INTERIM}, or than {_INTERIM_BYTES:,} bytes"
                )
            begun[:] = rest

    def _feed_body(self, piece: bytes, data: bytearray) -> None:
        surplus = b""
        if self._chunks is not None:
            try:
                surplus = self._chunks.feed(piece, data)
                self.is_odd |= self._chunks.is_odd
            except ClientPayloadError as error:
                self.broken = error
        elif self._left is None:
            data += piece
        else:
            data += piece[: self._left]
            surplus = piece[self._left :]
            self._left -= len(piece) - len(surplus)
            self.has_surplus |= bool(surplus.strip())
        self.is_odd |= bool(surplus)
