"""Pairs of images: two folders whose files go by the same names, or pictures that hold both side by side.

In the cache a pair is one picture, twice as wide; `PairData` gives either half.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.data.checkup import listed
from mulligan.data.dataset import ImageData
from mulligan.data.decode import BadImage, Header, fit, read_header, read_pixels, read_whole, reason
from mulligan.data.files import BLOCK, THREADS, list_folder
from mulligan.data.sources import Progress, Survey

SIDES = ("a", "b")


class Pair(NamedTuple):
    """The files of a pair: two, or one that holds both."""

    name: str
    files: tuple[Path, ...]


class PairData(ImageData):
    """Images (N, C, H, W) by index, as `ImageData`: these are the b of a pair, or its right half."""

    def images(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """uint8 (B, C, H, W): a copy, yours to change."""
        return super().images(indices)[..., self.shape[2] :]

    def partners(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """uint8 (B, C, H, W): the a of each, or its left half."""
        return super().images(indices)[..., : self.shape[2]]


def in_two_folders(path: Path) -> bool:
    """Whether pairs there are two files each, or else one that holds both."""
    return all((path / side).is_dir() for side in SIDES)


def halved(data: ImageData) -> PairData:
    """Data whose pictures are pairs side by side, as pairs."""
    channels, height, width = data.shape
    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    return PairData(**fields | {"shape": (channels, height, width // 2)})


class PairFiles:
    """The source behind `kind` "pairs"; see `sources.Source`. Its pictures hold both of a pair, a to the left."""

    kind = "pairs"
    classes: list[str] = []  # noqa: RUF012
    labels = None
    heldout = None

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(f"{path}: --task pairs takes a folder with a/ and b/, or one of pictures side by side")
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
                    self.bad.append((f"{side}/{entry.name}", f"goes by the same name as {first.name}"))
            found.append(stems)
            stamp.update(repr(sorted((entry.name, entry.stamp) for entry in listing.entries)).encode())
        shared = sorted(set.intersection(*map(set, found)))
        for side, other, stems in zip(SIDES, reversed(SIDES), found, strict=False) if two else ():
            self.bad += [(f"{side}/{name}", f"has no partner in {other}/") for name in sorted(set(stems) - set(shared))]
        self.pairs = [Pair(name, tuple(stems[name] for stems in found)) for name in shared]
        self.files = len(self.pairs) + len(self.bad)
        if not self.pairs:
            alone = f": {listed(self.bad)}" if self.bad else ""
            why = "no image in a/ has the name of one in b/" if two else "no images in it, and no a/ and b/"
            raise UserError(f"{path}: holds no pairs; {why}{alone}")
        self.ignored = dict(self._ignored.most_common())
        self.stamp = stamp.hexdigest()

    def name_of(self, position: int) -> str:
        return self.pairs[position].name

    def survey(self, progress: Progress) -> Survey:
        """Read every header; pairs without usable ones move to `bad`."""
        found, good = Survey(), []
        for pairs, headers in self._mapped(_headers, 1024):
            for pair, header in zip(pairs, headers, strict=True):
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
        together = max(THREADS, min(256, BLOCK // (channels * height * width)))
        start = 0
        for pairs, decoded in self._mapped(lambda pair: _pixels(pair, height, width, channels), together):
            good = [i for i, pixels in enumerate(decoded) if not isinstance(pixels, BadImage)]
            self.bad += [(pairs[i].name, str(decoded[i])) for i in range(len(pairs)) if i not in set(good)]
            if good:
                yield np.array(good) + start, np.stack([decoded[i] for i in good])
            start += len(pairs)
            progress(self.files + start, 2 * self.files)

    def _mapped(self, read: Callable[[Pair], Any], together: int) -> Iterator[tuple[list[Pair], list[Any]]]:
        """`read` of every pair, some at a time; where that fails, a BadImage in its place."""

        def one(pair: Pair) -> Any:
            try:
                return read(pair)
            except Exception as error:  # decoders meet damaged data with every exception there is
                return BadImage(reason(error))

        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(self.pairs), together):
                pairs = self.pairs[start : start + together]
                yield pairs, list(pool.map(one, pairs))


def _of_file(path: Path, read: Callable[[IO[bytes]], Any]) -> Any:
    with path.open("rb") as file:
        return read(file)


def _headers(pair: Pair) -> Header:
    """Of the picture that holds both: as wide as twice the second of two files."""
    headers = [_of_file(path, read_header) for path in pair.files]
    last = headers[-1]
    width = 2 * last.width if len(headers) == 2 else last.width // 2 * 2
    if not width:
        raise BadImage("a single column, which holds no two pictures side by side")
    return last._replace(width=width, channels=max(header.channels for header in headers))


def _pixels(pair: Pair, height: int, width: int, channels: int) -> np.ndarray:
    """uint8 (H, W, C): both of a pair, each brought to half the width by `decode.RESIZE_RULE`."""
    half = width // 2
    if len(pair.files) == 2:
        both = [_of_file(path, lambda file: read_pixels(file, height, half, channels)) for path in pair.files]
    else:
        whole = _of_file(pair.files[0], read_whole)
        middle = whole.shape[1] // 2
        pictures = [whole[:, :middle], whole[:, middle : 2 * middle]]
        both = [fit(Image.fromarray(p[..., 0] if p.shape[2] == 1 else p), height, half, channels) for p in pictures]
    return np.concatenate(both, 1)
