"""Three digits, one in each channel of a picture: a thousand modes that can be counted.

Stacked MNIST (Metz 2017, arXiv 1611.02163; Srivastava 2017, arXiv 1705.07761), of the 5,000 digits that are shipped.
Nothing is written: a picture is three positions among the digits.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mulligan.core import registry
from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.data import split
from mulligan.data.checkup import CheckUp
from mulligan.data.dataset import ImageData

NAME = "stacked"
TRAIN, HELD_OUT = 50_000, 5_000
MODES = 10**3


@dataclass(frozen=True, eq=False)
class StackedData:
    """Pictures (N, 3, H, W) by index, put together when asked for; else as `ImageData`, without labels."""

    digits: ImageData
    positions: np.ndarray  # (N, 3) int64, among the digits
    checkup: CheckUp
    fingerprint: str
    name: str = NAME
    classes: tuple[()] = ()
    labels: None = None
    measures: tuple[str, ...] = ("modes", "kl")
    features: str = "digits-by-channel"

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, *self.digits.shape[1:]

    @property
    def train(self) -> np.ndarray:
        return np.arange(TRAIN)

    @property
    def heldout(self) -> np.ndarray:
        return np.arange(TRAIN, TRAIN + HELD_OUT)

    @property
    def count(self) -> int:
        return len(self.positions)

    @property
    def class_counts(self) -> list[int]:
        return []

    def images(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """uint8 (B, 3, H, W) in channels-last memory."""
        chosen = self.positions[np.asarray(indices, np.int64)]
        digits = self.digits.images(chosen.ravel())  # (3B, 1, H, W)
        return digits.reshape(len(chosen), *self.shape).contiguous(memory_format=torch.channels_last)

    def label_of(self, indices: np.ndarray | Sequence[int]) -> None:
        return None

    def modes(self, samples: Tensor, seen: Tensor | None = None) -> dict[str, float]:
        """Of (n, 3, H, W) samples: the modes found, and the KL divergence, in nats, of how often from equally often.

        A mode is what the digit net, which must be registered, makes of the three channels. n samples of a perfect G
        find about 1,000 (1 - exp(-n / 1,000)) modes and, of many, a divergence of about 999 / 2n. `seen`: what the net
        `features` made of them, if it was asked already; the same comes out, in half the time.
        """
        return of_modes(torch.bincount(self.mode_of(samples, seen), minlength=MODES))

    @torch.inference_mode()
    def mode_of(self, samples: Tensor, seen: Tensor | None = None) -> Tensor:
        """(n, 3, H, W) -> (n,) int64: 0 to 999, as the digits are read, red first."""
        net = _digit_net()  # on the CPU, as samples and features are
        if seen is None:
            seen = torch.cat([net(to_float(block)) for block in samples.flatten(0, 1)[:, None].split(net.block)])
        return net.head(seen.view(len(samples), 3, -1)).argmax(2) @ torch.tensor([100, 10, 1])


def of_modes(counts: Tensor) -> dict[str, float]:
    """Of how many samples are at each mode, (K,) int64: how many modes have any, and KL(found || uniform)."""
    share = counts.double() / counts.sum()
    kl = torch.special.xlogy(share, share * len(counts)).sum().item()
    return {"modes": float((counts > 0).sum()), "kl": kl}


@functools.cache
def _digit_net():
    return registry.features["digits"]()


def stack(digits: ImageData) -> StackedData:
    """Always the same triples of these digits: those to train on of those to train on, those held out of those."""
    sides = (digits.train, TRAIN), (digits.heldout, HELD_OUT)
    positions = np.concatenate([_triples(side, count, number) for number, (side, count) in enumerate(sides)])
    _, height, width = digits.shape
    train, heldout = len(digits.train), len(digits.heldout)
    checkup = CheckUp(
        kind=NAME, path=NAME, bytes=digits.checkup.bytes, files=len(positions), images=len(positions),
        shape={"channels": 3, "height": height, "width": width}, sizes={f"{height}x{width}": len(positions)},
        modes={"RGB": len(positions)}, classes={}, train=TRAIN, heldout=HELD_OUT,
        duplicates=len(positions) - len(np.unique(positions, axis=0)), duplicate_pairs=[], constant=0, unreadable=[],
        ignored={}, resize=digits.checkup.resize,
        plan=[
            f"see {TRAIN:,} images, RGB, {height} x {width}, each of three of {train:,} digits, one a channel",
            f"never see {HELD_OUT:,} others, held out to measure by, nor the {heldout:,} digits that those are made of",
            f"count which of the {MODES:,} modes are found: what the digit net reads in the three channels",
        ],
    )  # fmt: skip
    digest = hashlib.blake2b(digits.fingerprint.encode() + positions.tobytes(), digest_size=16)
    return StackedData(digits, positions, checkup, digest.hexdigest())


def _triples(side: np.ndarray, count: int, number: int) -> np.ndarray:
    """(count, 3) of `side`, with replacement, the same with every version of numpy; another `number`, others."""
    at = np.arange(3 * count) + math.prod((number, 3, TRAIN))
    return side[(split.mixed(at) % np.uint64(len(side))).astype(np.int64)].reshape(count, 3)


def refuse_other_options(labels: bool, channels: int | None) -> None:
    """Raises UserError for what does not go with three digits in three channels."""
    if labels:
        raise UserError(f"{NAME}: has no labels, its {MODES:,} modes are for counting; by class, train on digits")
    if channels not in (None, 3):
        raise UserError(f"{NAME}: has three channels, a digit in each; leave --channels {channels} away")
