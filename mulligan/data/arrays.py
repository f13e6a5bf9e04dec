"""Images in one array: an .npz or IDX file of any size, read as a stream."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image

from mulligan.core.errors import UserError
from mulligan.data.decode import CHANNELS, MAX_PIXELS, fit
from mulligan.data.sources import Progress, Survey

IDX_IMAGES = re.compile(r"images([-.])idx3([-.]ubyte(?:\.gz)?)$")
BLOCK = 2 << 20  # bytes of stored images that are read at once


@dataclass
class Stack:
    """An array of images: what its header says, and how to read its pixels."""

    shape: tuple[int, int, int, int]  # N, H, W, C
    labels: np.ndarray | None  # (N,), values that can be sorted
    blocks: Callable[[int], Iterator[np.ndarray]]  # (most images in a block) -> blocks (b, H, W, C)


class ImageArray:
    """The source of the formats "npz", "idx" and "digits"; see `sources.Source`."""

    heldout: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __init__(self, format: str, path: Path, files: list[Path], unpack: Callable[[], Stack]) -> None:
        self.format, self.path, self.name = format, path, path.name
        facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        self.stamp = hashlib.blake2b(repr(facts).encode()).hexdigest()
        self.bytes = sum(size for _, size, _ in facts)
        self.ignored: dict[str, int] = {}
        self.bad: list[tuple[str, str]] = []
        self.classes: list[str] = []
        self._unpack = unpack

    def name_of(self, position: int) -> str:
        return f"#{position}"

    def survey(self, progress: Progress) -> Survey:
        with _readable(self.path):
            self._stack = self._unpack()
        self.files, height, width, channels = self._stack.shape
        if not math.prod(self._stack.shape):
            raise UserError(f"{self.path}: holds no images (shape {self._stack.shape})")
        if height * width > MAX_PIXELS:
            raise UserError(f"{self.path}: images of {height} x {width} pixels; at most {MAX_PIXELS:,} can be used")
        if self._stack.labels is not None:
            names, self.labels = np.unique(self._stack.labels, return_inverse=True)
            self.classes = [str(name) for name in names]
        found = Survey()
        found.add(height, width, {1: "grey"}.get(channels, CHANNELS[channels]), channels, self.files)
        return found

    def blocks(self, shape: tuple[int, int, int], progress: Progress) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        channels, height, width = shape
        stored = self._stack.shape[1:]
        start = 0
        with _readable(self.path):
            for block in self._stack.blocks(max(1, BLOCK // math.prod(stored))):
                if stored != (height, width, channels):
                    block = np.stack([fit(_as_image(pixels), height, width, channels) for pixels in block])
                yield np.arange(start, start + len(block)), block
                start += len(block)
                progress(start, self.files)


def _as_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns every error that a damaged file causes into a UserError of one line."""
    damage = (OSError, EOFError, ValueError, KeyError, RuntimeError, zlib.error, zipfile.BadZipFile)
    try:
        yield
    except UserError:
        raise
    except damage as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _in_blocks(file: IO[bytes], shape: tuple[int, int, int, int], size: int) -> Iterator[np.ndarray]:
    """The next images of an uncompressed stream, in blocks of `size` images."""
    count, *image = shape
    for start in range(0, count, size):
        wanted = min(size, count - start)
        data = file.read(wanted * math.prod(image))
        if len(data) < wanted * math.prod(image):
            raise EOFError(f"it ends after {start + len(data) // math.prod(image):,} of {count:,} images")
        yield np.frombuffer(data, np.uint8).reshape(wanted, *image)


def npz(path: Path) -> ImageArray:
    """An .npz with `images` uint8 (N, H, W) or (N, H, W, C), optional `labels` (N,) of integers or strings."""
    return ImageArray("npz", path, [path], lambda: _npz(path))


def _npz(path: Path) -> Stack:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if "images" not in names:
            raise UserError(f"{path}: has no array `images`, only {', '.join(map(repr, names)) or 'nothing'}")
        with _member(archive, "images") as (_, stored, dtype, fortran):
            shape = (*stored, 1) if len(stored) == 3 else stored
        labels = _npz_labels(path, archive, shape[0]) if "labels" in names else None
    what = f"{path}: `images` is {dtype} {stored}"
    if dtype != np.uint8:
        raise UserError(f"{what}; it must be uint8, 0 to 255")
    if len(shape) != 4 or shape[3] not in CHANNELS:
        last = "; channels come last, transpose it" if len(shape) == 4 and shape[1] in CHANNELS else ""
        raise UserError(f"{what}; it must be (N, H, W) or (N, H, W, C) with C 1, 3 or 4{last}")
    if fortran:
        raise UserError(f"{what} in Fortran order; save numpy.ascontiguousarray(images)")

    def blocks(size: int) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(path) as archive, _member(archive, "images") as (file, *_):
            yield from _in_blocks(file, shape, size)

    return Stack(shape, labels, blocks)


def _npz_labels(path: Path, archive: zipfile.ZipFile, count: int) -> np.ndarray:
    with _member(archive, "labels") as (file, shape, dtype, _):
        if shape != (count,) or dtype.kind not in "iubU":
            raise UserError(f"{path}: `labels` is {dtype} {shape}; it must be ({count},) of integers or strings")
        return np.frombuffer(file.read(count * dtype.itemsize), dtype)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype, bool]]:
    """An array in an .npz, open at the start of its data: (file, shape, dtype, Fortran order). Nothing is unpickled."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"`{name}` has the unknown format version {version}")
        shape, fortran, dtype = readers[version](file)
        if not dtype.hasobject and file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError(f"`{name}` is not as long as its header says")
        yield file, shape, dtype, fortran


def idx(path: Path) -> ImageArray:
    """An IDX file of images (uint8, 3 axes) and, if there is one, the label file next to it; both may be gzipped."""
    labels = next(filter(Path.is_file, _label_files(path)), None)
    return ImageArray("idx", path, [path, *filter(None, [labels])], lambda: _idx(path, labels))


def idx_in(folder: Path) -> Path | None:
    """The IDX file of images in a folder; where there are several, the one for training."""
    found = [child for child in folder.iterdir() if IDX_IMAGES.search(child.name) and child.is_file()]
    return min(found, key=lambda at: (not at.name.startswith("train"), at.suffix == ".gz", at.name), default=None)


def _label_files(images: Path) -> Iterator[Path]:
    plain = IDX_IMAGES.sub(r"labels\1idx1\2", images.name).removesuffix(".gz")
    return (images.with_name(name) for name in (plain, f"{plain}.gz"))


def _idx(path: Path, labels: Path | None) -> Stack:
    with _open(path) as file:
        count, height, width = _idx_header(path, file, 3)
    label_ids = None
    if labels:
        with _readable(labels), _open(labels) as file:
            (claimed,) = _idx_header(labels, file, 1)
            label_ids = np.frombuffer(file.read(count), np.uint8)
            if claimed != count or len(label_ids) != count:
                raise UserError(f"{labels}: {claimed:,} labels for {count:,} images of {path.name}, or it is cut off")

    def blocks(size: int) -> Iterator[np.ndarray]:
        with _open(path) as file:
            _idx_header(path, file, 3)
            yield from _in_blocks(file, (count, height, width, 1), size)

    return Stack((count, height, width, 1), label_ids, blocks)


def _open(path: Path) -> IO[bytes]:
    """Opens a file by its content, since a browser may unzip a file without changing its name."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if zipped else path.open("rb")


def _idx_header(path: Path, file: IO[bytes], axes: int) -> tuple[int, ...]:
    """The lengths of the axes: two zero bytes, 8 for uint8, the number of axes, then each length, big-endian.

    As LeCun's MNIST page describes it.
    """
    head = file.read(4 + 4 * axes)
    if len(head) < 4 + 4 * axes or head[:4] != bytes([0, 0, 8, axes]):
        raise UserError(
            f"{path}: not an IDX file of uint8 with {axes} axes; it begins with {head[:4].hex() or 'nothing'}"
        )
    return struct.unpack(f">{axes}I", head[4:])
