"""5,000 digits of MNIST (LeCun, Cortes, Burges), shipped as digits.npz with their licence in digits.LICENSE.txt."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from mulligan.core.registry import readers
from mulligan.data.arrays import ImageArray, Stack
from mulligan.data.dataset import Dataset
from mulligan.data.images import Channels, Size, decoded
from mulligan.data.opening import Opening
from mulligan.data.sources import Progress, Survey

NAME = "digits"
FILE = Path(__file__).with_name("digits.npz")  # images uint8 (5000, 28, 28), labels uint8 (5000,), sorted by label
STAMP = "346ebdad3042bb5b0cabb6c663cad150"  # blake2b of the pixels, then the labels
HELD_OUT = 50  # of each class: the last ones


@readers.register(NAME, kinds={"image"}, names=[NAME])
def digits(
    spec: str | Path,
    opening: Opening,
    *,
    size: Size = None,  # height and width of all images; None: 28x28
    labels: bool = False,  # has no effect: the digits always have labels
    channels: Channels = None,  # of all images: 1, 3 or 4; None: 1
    max_bad: float = 0.10,  # has no effect: none is unusable
    fit: PositiveInt | None = None,  # without `size`: the shorter side has at most this many pixels
) -> Dataset:
    """The 5,000 digits that ship with Mulligan, with labels. The last 50 of each class are held out."""
    data = decoded(Digits(), opening, size=size, labels=labels, channels=channels, max_bad=max_bad, fit=fit)
    return dataclasses.replace(data, net="digits")


class Digits(ImageArray):
    """500 images of each class."""

    def __init__(self) -> None:
        super().__init__("digits", Path("digits"), [], _stack)
        self.stamp = STAMP

    def survey(self, progress: Progress) -> Survey:
        found = super().survey(progress)
        self.bytes = math.prod(self._stack.shape)
        assert self.labels is not None
        of_class = [np.flatnonzero(self.labels == i) for i in range(len(self.classes))]
        self.heldout = np.sort(np.concatenate([positions[-HELD_OUT:] for positions in of_class]))
        return found


def _stack() -> Stack:
    with np.load(FILE) as arrays:
        images, labels = arrays["images"][..., None], arrays["labels"]
    return Stack(images.shape, labels, lambda size: iter([images]))
