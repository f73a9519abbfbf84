"""Undoes a body's content encodings (RFC 9110 §8.4) piece by piece, with a bounded size and a checked end."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

import brotli  # type: ignore[import-untyped]
from zlib_ng import zlib_ng as zlib  # inflates twice as fast as the standard library's

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPT_ENCODING = "gzip, deflate, br, zstd"

_MAX_LAYERS = 2  # some servers compress a compressed file by mistake; more layers are an attack
_MAX_MEMBERS = 1_000  # gzip members or zstd frames in a row; each one copies the rest of its piece
_PIECE = 64 * 1024  # bytes that a layer decodes at once
_SNIFFED = 1_445  # bytes that show whether a body is text, and the bytes that text does not have (MIME Sniffing §5)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]").search
_PLAIN_GZIP, _GZIP_HEAD, _GZIP_SUM = b"\x1f\x8b\x08\x00", 10, 8  # RFC 1952 §2.3; the sizes of head and check sum
_ZSTD_OPTIONS = {int(zstd.DecompressionParameter.window_log_max): 23}  # 8 MiB, the most RFC 9659 permits


_ZlibError: type[Exception] = zlib.error  # type: ignore[assignment]  # its stub says that this is an object


class BodyError(Exception):
    """A body that cannot be used. `kind` and `transient` as in `FetchError`; the text is the reason without the URL.
    `part`: of a truncated body, what could be decoded."""

    def __init__(self, kind: str, why: str, *, transient: bool = False) -> None:
        super().__init__(why)
        self.part = b""
        self.kind = kind
        self.transient = transient


class Decoder:
    """Decodes all layers of one body. Each layer's output is bounded, so a bomb inside a bomb is bounded as well."""

    def __init__(self, content_encoding: str, limit: int) -> None:
        """`content_encoding` is the header's value, `limit` the most bytes that each layer may produce.

        Ignores unknown names, as browsers do (`Content-Encoding: utf-8` is a known mistake).
        """
        said = [part.partition(";")[0].strip(' \t"').lower() for part in content_encoding.split(",")]
        names = [name for name in said if name in _CODECS]
        if len(names) > _MAX_LAYERS:
            raise BodyError("decode", f"has {len(names)} content encodings; at most {_MAX_LAYERS} are decoded")
        self._layers = [_Layer(name, limit) for name in reversed(names)]

    def feed(self, piece: bytes) -> bytes:
        """Decode the body's next piece. Raises `BodyError` (`too_large`, `decode`)."""
        for layer in self._layers:
            piece = layer.feed(piece)
        return piece

    @property
    def has_ended(self) -> bool:
        """Whether the compressed stream on the wire has come to its end."""
        return any(layer.has_ended for layer in self._layers[:1])

    def close(self) -> None:
        """Raise `BodyError` (`truncated`) if a compressed stream has begun but not ended."""
        for layer in self._layers:
            layer.close()


def decoded(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Undo the content encodings of a whole body. Raises `BodyError`."""
    if content_encoding == "gzip" and (text := _plain_gzip(body, limit)) is not None:
        return text
    decoder = Decoder(content_encoding, limit)
    body = decoder.feed(body)
    try:
        decoder.close()
    except BodyError as error:
        error.part = body
        raise
    return body


def _plain_gzip(body: bytes, limit: int) -> bytes | None:
    """Undo gzip as almost every server writes it, at a third less cost: one stream, nothing but a time in its head, the
    check sum, nothing behind it. None for all else, errors included."""
    if not body.startswith(_PLAIN_GZIP):
        return None
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        text = inflate.decompress(body[_GZIP_HEAD:], limit + 1)
    except _ZlibError:
        return None
    return text if inflate.eof and len(inflate.unused_data) == _GZIP_SUM and len(text) <= limit else None


def is_whole(body: bytes, content_encoding: str, limit: int) -> bool:
    """Whether a body that is shorter than its header says is complete nevertheless: its compressed stream has ended.

    Some servers state the length of the text (Chromium accepts that as well).
    """
    decoder = Decoder(content_encoding, limit)
    try:
        decoder.feed(body)
    except BodyError:
        return False
    return decoder.has_ended


class _Member(Protocol):
    """A decompressor for one compressed stream, from its first byte to its end."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Layer:
    """One content encoding: one compressed stream or several in a row, up to `limit` bytes in all."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._codec = _CODECS[name]
        self._room = limit
        self._plain: bool | None = None  # None until the first byte
        self._member: _Member | None = None
        self._members = 0

    def feed(self, piece: bytes) -> bytes:
        """Decode the next piece, which may span several streams.

        A body that is not compressed, although its header says so, passes unchanged. This is a known mistake of
        servers, and requesting the `identity` form would cost the host a second request.
        """
        if self._plain is None and piece:
            self._plain = not self._codec.begins(piece)
        if self._plain:
            return piece
        is_first = self._member is None
        decoded = []
        try:
            for at in range(0, len(piece), _PIECE):
                rest = piece[at : at + _PIECE]
                while rest and (member := self._current(rest)):
                    decoded.append(self._decode(member, rest))
                    rest = member.unused_data
        except BodyError as error:
            if error.kind != "decode" or not is_first or any(decoded) or _BINARY(piece[:_SNIFFED]):
                raise
            self._plain, self._member = True, None
            return piece
        return b"".join(decoded)

    @property
    def has_ended(self) -> bool:
        """Whether a stream has ended, its check sum aside, and no other one begun."""
        member = self._member
        return member is not None and (member.is_complete if isinstance(member, _Inflating) else member.eof)

    def close(self) -> None:
        """Raise `BodyError` for an incomplete stream. An empty body is complete (`HEAD`, 304, length 0)."""
        if self._member and not self.has_ended:
            raise BodyError("truncated", f"ends in the middle of its {self._name} stream", transient=True)

    def _current(self, piece: bytes) -> _Member | None:
        """The stream that `piece` belongs to; None for bytes after the last one, which have no meaning."""
        if self._member and not self._member.eof:
            return self._member
        if self._member and not (self._codec.repeats and self._codec.begins(piece)):
            return None
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise BodyError("decode", f"has more than {_MAX_MEMBERS} {self._name} streams in a row")
        self._member = self._codec.new()
        return self._member

    def _decode(self, member: _Member, piece: bytes) -> bytes:
        try:
            # One byte more than the room left distinguishes "too large" from "just fits".
            decoded = member.decompress(piece, self._room + 1)
        except (_ZlibError, brotli.error, zstd.ZstdError) as error:
            raise BodyError("decode", f"is not the {self._name} that its header says ({error})") from error
        self._room -= len(decoded)
        if self._room < 0:
            raise BodyError("too_large", f"is larger than allowed after decoding its {self._name}")
        return decoded


class _Brotli:
    """Brotli's decompressor with the interface of the standard library's."""

    unused_data = b""  # always empty: Brotli raises an error for bytes after the end

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.is_finished())

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        decoded: bytes = self._decompressor.process(data, output_buffer_limit=max_length)
        return decoded


class _Codec(NamedTuple):
    """How to recognize the start of a stream, how to read it, and whether several may follow each other."""

    begins: Callable[[bytes], bool]
    new: Callable[[], _Member]
    repeats: bool = False


class _Inflating:
    """A gzip or zlib stream (RFC 1952, 1950), or the bare one (RFC 1951) that some servers send as `deflate`.

    The check sum behind it is not read: browsers show a page without one, or with a wrong one.
    """

    def __init__(self) -> None:
        self._head = b""
        self._inflate: zlib._Decompress | None = None
        self._trailer = 0  # bytes of the check sum still to come
        self.unused_data = b""

    @property
    def is_complete(self) -> bool:
        """Whether all has come but the check sum."""
        return self._inflate is not None and self._inflate.eof

    @property
    def eof(self) -> bool:
        return self.is_complete and not self._trailer

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        decoded = b""
        if self._inflate is None:
            self._head += data
            if (wrapping := _wrapping(self._head)) is None:
                return b""
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            head, self._trailer = wrapping
            data, self._head = self._head[head:], b""
        if not self._inflate.eof:
            decoded = self._inflate.decompress(data, max_length)
            data = self._inflate.unused_data
        if self._inflate.eof:
            self.unused_data = data[self._trailer :]
            self._trailer -= min(self._trailer, len(data))
        return decoded


def _wrapping(data: bytes) -> tuple[int, int] | None:
    """The lengths of what stands before and behind the bare stream in `data`; None if that is too short to tell."""
    if len(data) < 2:
        return None
    if not data.startswith(b"\x1f\x8b"):
        return (2, 4) if data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0 else (0, 0)
    flags, end = (data + bytes(_GZIP_HEAD))[3], _GZIP_HEAD
    if flags & 4:  # an extra part
        end += 2 + int.from_bytes(data[10:12], "little")
    for part in (8, 16):  # a name, a comment
        if flags & part:
            end = data.find(b"\0", end) + 1 or len(data) + 1
    end += flags & 2  # a check sum
    if end > len(data) > _PIECE:
        raise _ZlibError("its head is too long")
    return (end, _GZIP_SUM) if end <= len(data) else None


def _with(magic: bytes) -> Callable[[bytes], bool]:
    """A test whether a piece begins with `magic` or is too short to tell."""
    return lambda piece: magic.startswith(piece[: len(magic)])


_is_gzip = _with(b"\x1f\x8b")
_ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")  # how zlib streams begin, which some servers send as gzip
_GZIP = _Codec(lambda piece: _is_gzip(piece) or piece[:2] in _ZLIB, _Inflating, repeats=True)
_DEFLATE = _Codec(lambda _: True, _Inflating)
_BROTLI = _Codec(lambda _: True, _Brotli)
_ZSTD = _Codec(_with(b"\x28\xb5\x2f\xfd"), lambda: zstd.ZstdDecompressor(None, _ZSTD_OPTIONS), repeats=True)
_CODECS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE, "br": _BROTLI, "zstd": _ZSTD}
