"""Content encodings: exact, bounded, and tolerant of the mistakes that servers are known for."""

from __future__ import annotations

import gzip
import random
import sys
import zlib
from collections.abc import Callable
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.fetch import decoding
from crawler.fetch.decoding import BodyError, Decoder

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    "deflate": zlib.compress,
    " deflate ": bare_deflate,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "identity": bytes,
    "utf-8": bytes,
    "": bytes,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
    "gzip,gzip": lambda data: gzip.compress(gzip.compress(data)),
    "deflate, identity, zstd": lambda data: zstd.compress(zlib.compress(data)),
}
TRAILERS = {"gzip": 8, "gzip,gzip": 8, "deflate": 4}  # bytes of the check sum at the end
COMPRESSED = ["gzip", "deflate", " deflate ", "br", "zstd", "gzip, br", "gzip,gzip"]


def decode(encoding: str, data: bytes, *, limit: int = 1_000_000, piece: int = 1_000_000) -> bytes:
    decoder = Decoder(encoding, limit)
    decoded = [decoder.feed(data[start : start + piece]) for start in range(0, len(data), piece)]
    decoder.close()
    return b"".join(decoded)


@pytest.mark.parametrize("encoding", PACKERS)
@given(data=st.binary(max_size=2000), piece=st.integers(1, 500))
def test_every_encoding_is_undone_whatever_the_pieces(encoding: str, data: bytes, piece: int) -> None:
    assert decode(encoding, PACKERS[encoding](data), piece=piece) == data


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_an_end_that_has_not_come_is_noticed_at_every_byte(encoding: str) -> None:
    packed = PACKERS[encoding](b"some text, " * 20)
    for end in range(1, len(packed) - TRAILERS.get(encoding, 0)):
        with pytest.raises(BodyError, match="middle") as error:
            decode(encoding, packed[:end])
        assert (error.value.kind, error.value.transient) == ("truncated", True)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_body_as_large_as_allowed_passes_and_one_byte_more_does_not(encoding: str) -> None:
    packed = PACKERS[encoding](b"\0" * 100_000)
    assert len(decode(encoding, packed, limit=100_000)) == 100_000
    with pytest.raises(BodyError) as error:
        decode(encoding, packed, limit=99_999)
    assert (error.value.kind, error.value.transient) == ("too_large", False)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_bomb_is_cut_off_in_its_first_piece(encoding: str) -> None:
    with pytest.raises(BodyError) as error:
        decode(encoding, PACKERS[encoding](bytes(50_000_000)), limit=1_000_000)
    assert error.value.kind == "too_large"


def test_a_layer_that_grows_and_decodes_to_nothing_is_bounded_too() -> None:
    """An inner stream of empty blocks gives no byte at all, however long it is."""
    packer = zlib.compressobj(wbits=-15)
    empty_blocks = packer.compress(b"") + b"\x00\x00\x00\xff\xff" * 1_000_000
    with pytest.raises(BodyError) as error:
        decode("deflate, gzip", gzip.compress(empty_blocks))
    assert error.value.kind == "too_large"


@pytest.mark.parametrize("encoding", ["deflate", "br", "deflate, br"])
def test_text_under_the_name_of_an_encoding_without_a_mark_is_taken_as_it_is(encoding: str) -> None:
    text = b"<html>plain text</html>" * 10_000
    assert decode(encoding, text) == text


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_neither_the_named_encoding_nor_text_is_an_error(encoding: str) -> None:
    marks = {"gzip": b"\x1f\x8b\x08" + bytes(7), "zstd": b"\x28\xb5\x2f\xfd"}
    with pytest.raises(BodyError, match=encoding) as error:
        decode(encoding, marks.get(encoding, b"") + b"\xff\x01" * 50)
    assert (error.value.kind, error.value.transient) == ("decode", False)


@pytest.mark.parametrize(
    ("encoding", "sent"), [("gzip", zlib.compress), ("deflate", gzip.compress), ('"gzip"', gzip.compress)]
)
def test_gzip_and_zlib_are_read_under_each_others_names_and_in_quotes(
    encoding: str, sent: Callable[[bytes], bytes]
) -> None:
    assert decode(encoding, sent(b"some text")) == b"some text"
    assert decode("gzip", b"x^2 is a power") == b"x^2 is a power"


@pytest.mark.parametrize("encoding", TRAILERS)
def test_no_check_sum_is_needed_and_none_is_checked(encoding: str) -> None:
    """As in browsers: servers are known that send none, a wrong one, or a part of it."""
    packed, size = PACKERS[encoding](b"some text"), TRAILERS[encoding]
    for end in (packed[-size:-1], b"", b"x" * size):
        assert decode(encoding, packed[:-size] + end) == b"some text"


def test_a_gzip_head_with_all_its_parts() -> None:
    flagged = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x05\0extra" + b"name\0" + b"comment\0" + b"ab"
    packed = flagged + gzip.compress(b"one ")[10:]
    for piece in (1, 1_000):
        assert decode("gzip", packed + PACKERS["gzip"](b"two"), piece=piece) == b"one two"
    assert decode("deflate", packed) == b"one "
    with pytest.raises(BodyError, match="head is too long"):
        decode("gzip", b"\x1f\x8b\x08\x08" + b"x" * 200_000)


@pytest.mark.parametrize(("encoding", "ends"), [("gzip", True), ("gzip, br", True), ("identity", False), ("", False)])
def test_a_body_is_whole_when_its_compressed_stream_has_ended(encoding: str, ends: bool) -> None:
    packed = PACKERS[encoding](b"some text")
    assert decoding.is_whole(packed, encoding, 1_000) == ends
    assert not decoding.is_whole(packed[:-9], encoding, 1_000)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_stream_with_broken_bytes_inside_is_an_error(encoding: str) -> None:
    packed = bytearray(PACKERS[encoding](bytes(range(256)) * 40))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) - len(packed) // 2)
    with pytest.raises(BodyError) as error:
        decode(encoding, bytes(packed))
    assert error.value.kind in ("decode", "truncated")


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "x-gzip, gzip"])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_plain_text_under_the_name_of_an_encoding_is_taken_as_it_is(encoding: str, piece: int) -> None:
    text = b"<html>never \x1f\x8b compressed</html>" * 3
    assert decode(encoding, text, piece=piece) == text


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_streams_in_a_row_are_one_body(encoding: str) -> None:
    packed = PACKERS[encoding](b"one ") + PACKERS[encoding](b"two")
    assert decode(encoding, packed) == b"one two"
    assert decode(encoding, packed, piece=1) == b"one two"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_bytes_behind_the_end_are_dropped(encoding: str) -> None:
    assert decode(encoding, PACKERS[encoding](b"text") + b"\r\n padding") == b"text"


def outcome(decoding_of: Callable[[bytes], bytes], body: bytes) -> tuple[object, ...]:
    try:
        return (decoding_of(body),)
    except BodyError as error:
        return error.kind, error.transient, error.part, str(error)


PLAIN = gzip.compress(b"some text " * 40)


@given(
    st.sampled_from(
        [PLAIN, PLAIN[:-8], PLAIN[:-3], PLAIN[:20], PLAIN[:10], PLAIN * 2, PLAIN + b"\r\n", PLAIN + bytes(9)]
    ),
    st.dictionaries(st.integers(0, len(PLAIN) - 1), st.integers(0, 255), max_size=2),
    st.sampled_from([399, 400, 800]),
)
def test_the_short_cut_for_plain_gzip_makes_no_difference(body: bytes, changes: dict[int, int], limit: int) -> None:
    changed = bytes(changes.get(at, byte) for at, byte in enumerate(body))
    whole = outcome(lambda body: decoding.decoded(body, "gzip", limit), changed)
    assert whole == outcome(lambda body: decoding.decoded(body, " gzip", limit), changed)  # takes the long way


def test_a_flood_of_tiny_streams_is_cut_off() -> None:
    with pytest.raises(BodyError, match="in a row") as error:
        decode("gzip", gzip.compress(b"") * 2_000)
    assert error.value.kind == "decode"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "zstd, gzip"])
def test_tiny_streams_before_a_large_one_cost_little(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a copy of what is behind it, which must not be the whole body."""
    large = random.Random(1).randbytes(2_000_000)
    inner, *outer = encoding.split(", ")
    packed = PACKERS[inner](b"") * 900 + PACKERS[inner](large)
    for name in outer:
        packed = PACKERS[name](packed)
    handed = 0
    decode_piece = decoding._Layer._decode

    def watched(self: Any, member: Any, piece: bytes) -> bytes:
        nonlocal handed
        handed += len(piece)
        return decode_piece(self, member, piece)

    monkeypatch.setattr(decoding._Layer, "_decode", watched)
    assert decoding.decoded(packed, encoding, 3_000_000) == large
    assert handed < 900 * 64 * 1024 + 3 * len(large)


def test_more_than_two_layers_are_refused() -> None:
    with pytest.raises(BodyError, match="at most 2") as error:
        Decoder("gzip, gzip, gzip", 1000)
    assert error.value.kind == "decode"


@pytest.mark.parametrize("encoding", PACKERS)
def test_an_empty_body_is_a_body(encoding: str) -> None:
    assert decode(encoding, b"") == b""
