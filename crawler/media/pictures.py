"""Checks images, converts them, and makes thumbnails, with Pillow.

Images come from hosts that may mean harm: only the formats of the web are read (others start programs, as PostScript
does), and an image is refused by its size in pixels before it is unpacked. Importing this module raises `ConfigError`
where the extra `images` is not installed.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from typing import Final

from crawler.errors import ConfigError
from crawler.media.library import Shaped, UnusableFile
from crawler.program import extra

try:
    from PIL import Image, ImageOps
except ImportError:
    raise ConfigError(f"thumbnails and conversion of images need the extra `images`: {extra('images')}") from None

MAX_PIXELS: Final = 50_000_000
"""Most pixels of an image that is unpacked: 200 MB of memory."""

_FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "PNG", "TIFF", "WEBP")
_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
_QUALITY = 85
_is_name = re.compile(r"[A-Za-z0-9_-]{1,60}").fullmatch


class Pictures:
    """What becomes of each image."""

    def __init__(
        self, thumbs: Mapping[str, tuple[int, int]], least: tuple[int, int] = (0, 0), convert: str = ""
    ) -> None:
        """`thumbs`: name → largest width and height. `least`: width and height below which an image is given up.
        `convert`: JPEG, PNG or WEBP; empty: the bytes stay. Raise `ConfigError` for a name that is no name of a folder.
        """
        for name in thumbs:
            if not _is_name(name):
                raise ConfigError(f"IMAGES_THUMBS: {name!r} names a folder; use letters, digits, _ and -")
        self._thumbs = thumbs
        self._least = least
        self._convert = convert

    def read(self, body: bytes) -> Shaped:
        """Return the image as it is kept. Raise `UnusableFile`."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the lower bound
                return self._read(body)
        except UnusableFile:
            raise
        except Image.DecompressionBombError as error:
            raise UnusableFile("too_many_pixels", str(error)) from error
        except Exception as error:  # a decoder may raise anything on bytes that mean harm
            raise UnusableFile("broken_image", f"{type(error).__name__}: {error}") from error

    def _read(self, body: bytes) -> Shaped:
        with Image.open(io.BytesIO(body), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnusableFile("too_many_pixels", f"{width} × {height} pixels; at most {MAX_PIXELS:,}")
            upright = ImageOps.exif_transpose(image)  # unpacks it
        if upright.width < self._least[0] or upright.height < self._least[1]:
            least = f"{self._least[0]} × {self._least[1]}"
            raise UnusableFile("too_small", f"{upright.width} × {upright.height} pixels; at least {least}")
        whole = _saved(upright, self._convert) if self._convert else body
        thumbs = {name: _thumb(upright, size) for name, size in self._thumbs.items()}
        return Shaped(whole, _ENDINGS.get(self._convert, ""), thumbs)


def _thumb(image: Image.Image, size: tuple[int, int]) -> bytes:
    small = _opaque(image)
    small.thumbnail(size)
    return _saved(small, "JPEG")


def _saved(image: Image.Image, form: str) -> bytes:
    written = io.BytesIO()
    (_opaque(image) if form == "JPEG" else image.convert("RGBA")).save(written, form, quality=_QUALITY)
    return written.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    """Return a copy in RGB, with white where the image is transparent."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    ground.alpha_composite(layer)
    return ground.convert("RGB")
