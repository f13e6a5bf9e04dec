"""Pairs of images: two folders whose files have the same names, or pictures that hold both images side by side.

In the cache a pair is one picture of twice the width.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image
from pydantic import PositiveInt

from mulligan.core.errors import UserError
from mulligan.core.registry import readers
from mulligan.data.checkup import listed
from mulligan.data.dataset import Dataset
from mulligan.data.decode import BadImage, Header, fit, read_header, read_pixels, read_whole, reason
from mulligan.data.files import BLOCK, THREADS, list_folder
from mulligan.data.images import Channels, Size, decoded
from mulligan.data.opening import Opening, built_in
from mulligan.data.sources import Progress, Survey
from mulligan.kinds.image import ImageSample

SIDES = ("a", "b")


class Pair(NamedTuple):
    """The files of a pair: two, or one that holds both images."""

    name: str
    files: tuple[Path, ...]


@readers.register("pairs", kinds={"image"})
def pairs(
    spec: str | Path,
    opening: Opening,
    *,
    size: Size = None,  # height and width of each image, in pixels; None: the most frequent size
    channels: Channels = None,  # of all images: 1, 3 or 4; None: as most pairs have
    max_bad: float = 0.10,  # share of pairs, 0 to 1, that may be unusable; they are skipped
    fit: PositiveInt | None = None,  # without `size`: the shorter side has at most this many pixels
) -> Dataset:
    """A folder with a/ and b/ whose files have the same names, or pictures that hold both images side by side."""
    if spec in built_in():
        raise UserError(f"{spec}: built-in data have no pairs; --task pairs needs a folder with a/ and b/")
    source = PairFiles(Path(spec).expanduser().absolute())
    single = (size, size) if isinstance(size, int) else size
    double = single and (single[0], 2 * single[1])
    return halved(decoded(source, opening, size=double, channels=channels, max_bad=max_bad, fit=fit))


def in_two_folders(path: Path) -> bool:
    """Whether each pair there is two files; otherwise it is one picture that holds both images."""
    return all((path / side).is_dir() for side in SIDES)


def halved(data: Dataset) -> Dataset:
    """Pictures that hold a pair side by side, as pairs: samples are the right halves, partners the left ones."""
    channels, height, width = data.shape
    half = width // 2
    return dataclasses.replace(
        data,
        sample=ImageSample(shape=(channels, height, half)),
        rows=lambda indices: data.rows(indices)[..., half:],
        partners=lambda indices: data.rows(indices)[..., :half],
    )


class PairFiles:
    """The source of the format "pairs"; see `sources.Source`. Its pictures hold both images, a on the left."""

    format = "pairs"
    classes: list[str] = []  # noqa: RUF012
    labels = None
    heldout = None

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(f"{path}: --task pairs needs a folder with a/ and b/, or one of pairs side by side")
        self.path, self.name = path, f"{path.name}/"
        self.bad: list[tuple[str, str]] = []
        self.bytes, self._ignored, stamp = 0, Counter[str](), hashlib.blake2b()
        two = in_two_folders(path)
        listings = [list_folder(path / side) for side in SIDES] if two else [list_folder(path)]
        found: list[dict[str, Path]] = []
        for side, listing in zip(SIDES if two else ("",), listings, strict=True):
            self.bytes += listing.bytes
            self._ignored += listing.ignored
            self.bad += [(f"{side}/{name}".lstrip("/"), why) for name, why in listing.bad]
            stems: dict[str, Path] = {}
            for entry in sorted(listing.entries, key=lambda entry: entry.name):
                name = entry.name.rpartition(".")[0] if two else entry.name
                first = stems.setdefault(name, path / side / entry.where)
                if first != path / side / entry.where:
                    self.bad.append((f"{side}/{entry.name}", f"has the same name as {first.name}"))
            found.append(stems)
            stamp.update(repr(sorted((entry.name, entry.stamp) for entry in listing.entries)).encode())
        shared = sorted(set.intersection(*map(set, found)))
        for side, other, stems in zip(SIDES, reversed(SIDES), found, strict=False) if two else ():
            self.bad += [(f"{side}/{name}", f"has no partner in {other}/") for name in sorted(set(stems) - set(shared))]
        self.pairs = [Pair(name, tuple(stems[name] for stems in found)) for name in shared]
        self.files = len(self.pairs) + len(self.bad)
        if not self.pairs:
            unusable = f": {listed(self.bad)}" if self.bad else ""
            why = "no image in a/ has the name of one in b/" if two else "no images in it, and no a/ and b/"
            raise UserError(f"{path}: holds no pairs; {why}{unusable}")
        self.ignored = dict(self._ignored.most_common())
        self.stamp = stamp.hexdigest()

    def name_of(self, position: int) -> str:
        return self.pairs[position].name

    def survey(self, progress: Progress) -> Survey:
        """Reads every header. Pairs without usable ones move to `bad`."""
        found, good = Survey(), []
        for some, headers in self._mapped(_headers, 1024):
            for pair, header in zip(some, headers, strict=True):
                if isinstance(header, BadImage):
                    self.bad.append((pair.name, str(header)))
                else:
                    found.add(*header)
                    good.append(pair)
            progress(len(good) + len(self.bad), 2 * self.files)
        self.pairs = good
        return found

    def blocks(self, shape: tuple[int, int, int], progress: Progress) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(positions (b,), pixels uint8 (b, H, W, C)) in order; pairs that do not decode move to `bad`."""
        channels, height, width = shape
        size = max(THREADS, min(256, BLOCK // (channels * height * width)))
        start = 0
        for some, pixels in self._mapped(lambda pair: _pixels(pair, height, width, channels), size):
            good = [i for i, each in enumerate(pixels) if not isinstance(each, BadImage)]
            self.bad += [(some[i].name, str(pixels[i])) for i in range(len(some)) if i not in set(good)]
            if good:
                yield np.array(good) + start, np.stack([pixels[i] for i in good])
            start += len(some)
            progress(self.files + start, 2 * self.files)

    def _mapped(self, read: Callable[[Pair], Any], size: int) -> Iterator[tuple[list[Pair], list[Any]]]:
        """The results of `read` for all pairs, in blocks of `size`; a BadImage where it raises."""

        def one(pair: Pair) -> Any:
            try:
                return read(pair)
            except Exception as error:  # decoders raise any exception on damaged data
                return BadImage(reason(error))

        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(self.pairs), size):
                pairs = self.pairs[start : start + size]
                yield pairs, list(pool.map(one, pairs))


def _of_file(path: Path, read: Callable[[IO[bytes]], Any]) -> Any:
    with path.open("rb") as file:
        return read(file)


def _headers(pair: Pair) -> Header:
    """The header of the picture that holds both images. Of two files, the second one decides the size."""
    headers = [_of_file(path, read_header) for path in pair.files]
    last = headers[-1]
    width = 2 * last.width if len(headers) == 2 else last.width // 2 * 2
    if not width:
        raise BadImage("a single column of pixels, which cannot hold two images side by side")
    return last._replace(width=width, channels=max(header.channels for header in headers))


def _pixels(pair: Pair, height: int, width: int, channels: int) -> np.ndarray:
    """uint8 (H, W, C): both images, each resized to half the width by `decode.RESIZE_RULE`."""
    half = width // 2
    if len(pair.files) == 2:
        both = [_of_file(path, lambda file: read_pixels(file, height, half, channels)) for path in pair.files]
    else:
        whole = _of_file(pair.files[0], read_whole)
        middle = whole.shape[1] // 2
        pictures = [whole[:, :middle], whole[:, middle : 2 * middle]]
        both = [fit(Image.fromarray(p[..., 0] if p.shape[2] == 1 else p), height, half, channels) for p in pictures]
    return np.concatenate(both, 1)
