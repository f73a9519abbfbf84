"""Images: what is refused before it does harm, and how they are kept."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from crawler.errors import ConfigError
from crawler.media.library import UnusableFile
from crawler.media.pictures import MAX_PIXELS, Pictures

RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(image: Image.Image, form: str, **words: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **words)
    return content.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says to be that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", "broken_image"),
        (b"<html>", "broken_image"),
        (saved(Image.new("RGB", (300, 300)), "JPEG")[:400], "broken_image"),
        (saved(Image.new("RGB", (99, 200)), "PNG"), "too_small"),
        (bomb(MAX_PIXELS, 2), "too_many_pixels"),
        (bomb(1_000_000, 1_000_000), "too_many_pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n", "broken_image"),
    ],
    ids=["empty", "html", "cut", "small", "bomb", "larger-bomb", "postscript"],
)
def test_what_is_no_image_or_means_harm_is_given_up(content: bytes, status: str) -> None:
    with pytest.raises(UnusableFile) as caught:
        Pictures({"small": (10, 10)}, (100, 100)).read(content)
    assert caught.value.status == status


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_every_mode_can_be_converted_and_made_small(mode: str, form: str) -> None:
    source = "TIFF" if mode not in ("LA", "P", "PA", "RGBA") else "PNG"
    image = (
        Image.new("L", (64, 32)).convert("RGBA" if mode == "PA" else mode)
        if mode != "I;16"
        else Image.new(mode, (64, 32))
    )
    shaped = Pictures({"t": (16, 16)}, convert=form).read(saved(image, source))
    with Image.open(io.BytesIO(shaped.body)) as whole, Image.open(io.BytesIO(shaped.thumbs["t"])) as thumb:
        assert (whole.format, whole.size, thumb.format, thumb.size) == (form, (64, 32), "JPEG", (16, 8))


def test_an_image_is_turned_as_its_camera_says() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    content = saved(Image.new("RGB", (60, 30)), "JPEG", exif=turned)
    shaped = Pictures({"t": (20, 20)}).read(content)
    assert shaped.body == content
    with Image.open(io.BytesIO(shaped.thumbs["t"])) as thumb:
        assert thumb.size == (10, 20)


def test_what_is_transparent_becomes_white() -> None:
    image = Image.new("RGBA", (8, 8), (*RED, 0))
    shaped = Pictures({}, convert="JPEG").read(saved(image, "PNG"))
    with Image.open(io.BytesIO(shaped.body)) as whole:
        assert whole.getpixel((4, 4)) == WHITE


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "x" * 61])
def test_the_name_of_a_thumbnail_is_that_of_a_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="IMAGES_THUMBS"):
        Pictures({name: (1, 1)})
