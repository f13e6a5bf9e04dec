"""Decodes one image file to uint8 pixels, and says in plain words what is wrong with a file that is damaged."""

from __future__ import annotations

import contextlib
import zipfile
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # not more: some of Pillow's readers start other programs
MAX_PIXELS = 100_000_000  # images with more are refused from their header, before any memory is allocated
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
RESIZE_RULE = "scaled with antialiasing (Lanczos) until it covers that, then cropped at the centre"
MODES = {
    "1": "1-bit", "L": "grey", "LA": "grey + alpha", "I;16": "16-bit grey", "I;16B": "16-bit grey", "I": "32-bit grey",
    "P": "palette",
}  # fmt: skip
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF 2.32, tag 0x0112


class BadImage(Exception):
    """A file that cannot be used. Its text is the reason."""


class Header(NamedTuple):
    """What the header of a file says: the size of the upright image, and the type of its pixels."""

    height: int
    width: int
    mode: str  # in words: "grey", "RGB", "palette", ...
    channels: int  # 1, 3 or 4: as few as keep all of its content


def read_header(file: IO[bytes]) -> Header:
    """Raises BadImage, or any exception that Pillow raises on damaged data; `reason` words both."""
    with _open(file) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        alpha = "RGBA" not in image.mode and "transparency" in image.info
        mode = MODES.get(image.mode, image.mode) + (" + alpha" if alpha else "")
        return Header(height, width, mode, {plain: n for n, plain in CHANNELS.items()}[_plain_mode(image)])


def read_pixels(file: IO[bytes], height: int, width: int, channels: int) -> np.ndarray:
    """uint8 (height, width, channels), made upright according to its EXIF data. Raises as `read_header` does."""
    with _open(file) as image:
        side = 2 * max(height, width)
        image.draft(None, (side, side))  # decodes a JPEG that is much larger than the target at a fraction of its size
        image.load()
        turned = TURNS.get(_orientation(image))
        plain = _to_8_bit(image)
        return fit(plain.transpose(turned) if turned is not None else plain, height, width, channels)


def read_whole(file: IO[bytes]) -> np.ndarray:
    """uint8 (H, W, C), upright, at its own size; C is as small as keeps all content. Raises as `read_header` does."""
    with _open(file) as image:
        image.load()
        turned = TURNS.get(_orientation(image))
        plain = _to_8_bit(image)
        upright = plain.transpose(turned) if turned is not None else plain
        return np.asarray(upright).reshape(upright.height, upright.width, -1)


def fit(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """An L, RGB or RGBA image -> uint8 (height, width, channels), by RESIZE_RULE. Transparent parts become white."""
    if image.size != (width, height):
        scale = min(image.width / width, image.height / height)
        w, h = scale * width, scale * height
        left, top = max(0.0, (image.width - w) / 2), max(0.0, (image.height - h) / 2)
        # the box is the crop; Pillow still filters across its borders, as if the whole image had been scaled first
        box = (left, top, min(left + w, image.width), min(top + h, image.height))
        image = image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if image.mode == "RGBA" and channels < 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != CHANNELS[channels]:
        image = image.convert(CHANNELS[channels])
    return np.asarray(image).reshape(height, width, channels)


def reason(error: Exception) -> str:
    """Why a file cannot be used, in a few words and without memory addresses."""
    match error:
        case UnidentifiedImageError():
            return f"not an image ({', '.join(FORMATS)}), or its header is damaged"
        case Image.DecompressionBombError():
            return f"more than {MAX_PIXELS // 10**6} million pixels"
        case zipfile.BadZipFile():
            return f"damaged in the zip: {error}"
        case OSError() if error.strerror:
            return error.strerror.lower()
    return str(error) or type(error).__name__


def _open(file: IO[bytes]) -> Image.Image:
    # A file object and not a path: Pillow 13 maps an uncompressed TIFF given by path, and then rotates it wrongly.
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"{image.width} x {image.height}: more than {MAX_PIXELS // 10**6} million pixels")
    return image


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF" or "exif" not in image.info:  # Pillow rotates TIFF itself; for PNG, getexif may read all
        return 1
    with contextlib.suppress(Exception):  # damaged EXIF data do not make the image unusable
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _plain_mode(image: Image.Image) -> str:
    """The smallest of L, RGB and RGBA that keeps all content of the image."""
    if image.mode[0] in "IF":
        return "L"
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Mode L, RGB or RGBA. 16-bit greys are scaled: 65,535 becomes 255 (Pillow itself would clip at 255)."""
    if image.mode == "F":
        raise BadImage("floating-point pixels, whose range is not known; store it with 8 or 16 bits")
    if image.mode[0] == "I":
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65_535:
            raise BadImage("32-bit pixels outside 0 to 65,535; store it with 8 or 16 bits")
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    mode = _plain_mode(image)
    return image if image.mode == mode else image.convert(mode)
