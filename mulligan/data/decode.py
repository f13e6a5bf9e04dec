"""One image file to uint8 pixels. Files in the wild are dirty: what is wrong with one is said in plain words."""

from __future__ import annotations

import contextlib
import zipfile
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # no others: some of Pillow's readers start other programs
MAX_PIXELS = 100_000_000  # larger ones are refused by their header, before any memory is taken
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
RESIZE_RULE = "scaled with antialiasing (Lanczos) until it covers that, then cropped at the centre"
KINDS = {
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
    """A file that cannot be used; its text is the reason."""


class Header(NamedTuple):
    """What a file says of itself before it is decoded: its size as it will be shown, and what its pixels are."""

    height: int
    width: int
    kind: str  # in words: "grey", "RGB", "palette", ...
    channels: int  # 1, 3 or 4: what it takes to keep all it holds


def read_header(file: IO[bytes]) -> Header:
    """Raises BadImage, or whatever Pillow raises on damaged data; `reason` puts either into words."""
    with _open(file) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        alpha = "RGBA" not in image.mode and "transparency" in image.info
        kind = KINDS.get(image.mode, image.mode) + (" + alpha" if alpha else "")
        return Header(height, width, kind, {mode: n for n, mode in CHANNELS.items()}[_plain_mode(image)])


def read_pixels(file: IO[bytes], height: int, width: int, channels: int) -> np.ndarray:
    """uint8 (height, width, channels), turned upright as its EXIF data says. Raises as `read_header` does."""
    with _open(file) as image:
        side = 2 * max(height, width)
        image.draft(None, (side, side))  # lets a JPEG much larger than the target be decoded at a fraction of its size
        image.load()
        turned = TURNS.get(_orientation(image))
        plain = _to_8_bit(image)
        return fit(plain.transpose(turned) if turned is not None else plain, height, width, channels)


def read_whole(file: IO[bytes]) -> np.ndarray:
    """uint8 (H, W, C) at its own size, C as little as holds it all, upright. Raises as `read_header` does."""
    with _open(file) as image:
        image.load()
        turned = TURNS.get(_orientation(image))
        plain = _to_8_bit(image)
        upright = plain.transpose(turned) if turned is not None else plain
        return np.asarray(upright).reshape(upright.height, upright.width, -1)


def fit(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """An L, RGB or RGBA image to uint8 (height, width, channels) by RESIZE_RULE; what is transparent becomes white."""
    if image.size != (width, height):
        scale = min(image.width / width, image.height / height)
        w, h = scale * width, scale * height
        left, top = max(0.0, (image.width - w) / 2), max(0.0, (image.height - h) / 2)
        # the box is the crop; Pillow still looks beyond it at its borders, as if all had been scaled and then cropped
        box = (left, top, min(left + w, image.width), min(top + h, image.height))
        image = image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if image.mode == "RGBA" and channels < 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != CHANNELS[channels]:
        image = image.convert(CHANNELS[channels])
    return np.asarray(image).reshape(height, width, channels)


def reason(error: Exception) -> str:
    """Why a file cannot be used, in a few words without addresses in memory."""
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
    # As a file object, never a path: Pillow 13 maps an uncompressed TIFF given by path and then turns it wrongly.
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"{image.width} x {image.height}: more than {MAX_PIXELS // 10**6} million pixels")
    return image


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF" or "exif" not in image.info:  # Pillow turns TIFF itself; of PNG, getexif may read it all
        return 1
    with contextlib.suppress(Exception):  # EXIF data is as dirty as the rest; without it the image is still good
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _plain_mode(image: Image.Image) -> str:
    """The least of L, RGB, RGBA that keeps what the image holds."""
    if image.mode[0] in "IF":
        return "L"
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Mode L, RGB or RGBA. Deep greys keep their range: 65,535 becomes 255 (Pillow itself would clip at 255)."""
    if image.mode == "F":
        raise BadImage("floating-point pixels, whose range nobody knows; store it as 8 or 16 bit")
    if image.mode[0] == "I":
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65_535:
            raise BadImage("32-bit pixels beyond 65,535; store it as 8 or 16 bit")
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    mode = _plain_mode(image)
    return image if image.mode == mode else image.convert(mode)
