"""Stacked MNIST: images with a digit in each of three channels, so that 1,000 modes can be counted.

See Metz 2017, arXiv 1611.02163, and Srivastava 2017, arXiv 1705.07761. The digits are the 5,000 that Mulligan ships.
Nothing is stored: an image is three positions among the digits.
"""

from __future__ import annotations

import functools
import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from mulligan.core import registry
from mulligan.core.batch import to_float
from mulligan.core.registry import readers
from mulligan.data import split
from mulligan.data.checkup import CheckUp
from mulligan.data.dataset import Dataset, Modes
from mulligan.data.digits import NAME as digits_name
from mulligan.data.digits import digits
from mulligan.data.images import Size
from mulligan.data.opening import Opening
from mulligan.kinds.image import ImageSample

NAME = "stacked"
TRAIN, HELD_OUT = 50_000, 5_000
MODES = 10**3


@readers.register(NAME, kinds={"image"}, names=[NAME])
def stacked(
    spec: str | Path,
    opening: Opening,
    *,
    size: Size = None,  # height and width of the digits; None: 28x28
    channels: Literal[3] | None = None,  # always three, a digit in each
    fit: PositiveInt | None = None,  # without `size`: the shorter side has at most this many pixels
) -> Dataset:
    """Stacked MNIST: a digit in each of three channels, with 1,000 modes that are counted."""
    return stack(digits(digits_name, opening, size=size, fit=fit))


def positions_among(singles: Dataset) -> np.ndarray:
    """(N, 3): the positions of each image's three digits; held-out images have held-out digits, the others have not."""
    parts = (singles.train, TRAIN), (singles.heldout, HELD_OUT)
    return np.concatenate([_triples(digits, count, stream) for stream, (digits, count) in enumerate(parts)])


def stack(singles: Dataset) -> Dataset:
    """The images of `positions_among` these digits, which are always the same."""
    positions = positions_among(singles)
    _, height, width = singles.shape
    shape = (3, height, width)
    train, heldout = len(singles.train), len(singles.heldout)

    def rows(indices: np.ndarray) -> Tensor:
        chosen = positions[indices]
        records = singles.records(chosen.ravel())  # (3B, 1, H, W)
        return records.reshape(len(chosen), *shape).contiguous(memory_format=torch.channels_last)

    found = singles.checkup.found
    checkup = CheckUp(
        source=NAME, path=NAME, bytes=singles.checkup.bytes, files=len(positions), samples=len(positions),
        shape={"channels": 3, "height": height, "width": width}, train=TRAIN, heldout=HELD_OUT,
        duplicates=len(positions) - len(np.unique(positions, axis=0)),
        found={
            "sizes": {f"{height}x{width}": len(positions)}, "modes": {"RGB": len(positions)}, "constant": 0,
            "resize": found["resize"],
        },
        plan=[
            f"see {TRAIN:,} images, RGB, {height} x {width}, each of three of {train:,} digits, one in each channel",
            f"never see {HELD_OUT:,} others, held out for measuring, nor the {heldout:,} digits that those are made of",
            f"count the modes that are found, of {MODES:,}: the three digits that the digit net reads in the channels",
        ],
    )  # fmt: skip
    digest = hashlib.blake2b(singles.fingerprint.encode() + positions.tobytes(), digest_size=16)
    return Dataset(
        name=NAME,
        sample=ImageSample(shape=shape),
        rows=rows,
        train=np.arange(TRAIN),
        heldout=np.arange(TRAIN, TRAIN + HELD_OUT),
        checkup=checkup,
        fingerprint=digest.hexdigest(),
        net="digits-by-channel",
        modes=Modes(("modes", "kl"), count_modes),
    )


def count_modes(samples: Tensor, features: Tensor | None = None) -> dict[str, float]:
    """The number of modes among samples (n, 3, H, W), and the KL divergence of their shares from equal ones, in nats.

    A mode is the three digits that the digit net, which must be registered, reads in the channels. n samples of a
    perfect G have about 1,000 (1 - exp(-n / 1,000)) modes and, if n is large, a divergence of about 999 / 2n.
    `features` are those of the net `digits-by-channel`, if they are known: the result is the same, in half the time.
    """
    return count_and_divergence(torch.bincount(mode_of(samples, features), minlength=MODES))


@torch.inference_mode()
def mode_of(samples: Tensor, features: Tensor | None = None) -> Tensor:
    """(n, 3, H, W) -> (n,) int64: 0 to 999, the three digits that are read, that of the red channel first."""
    net = _digit_net()  # on the CPU, as samples and features are
    if features is None:
        features = torch.cat([net(to_float(block)) for block in samples.flatten(0, 1)[:, None].split(net.block)])
    return net.head(features.view(len(samples), 3, -1)).argmax(2) @ torch.tensor([100, 10, 1])


def count_and_divergence(counts: Tensor) -> dict[str, float]:
    """From the number of samples at each mode, (K,) int64: how many modes have any, and KL(found || uniform)."""
    share = counts.double() / counts.sum()
    kl = torch.special.xlogy(share, share * len(counts)).sum().item()
    return {"modes": float((counts > 0).sum()), "kl": kl}


@functools.cache
def _digit_net():
    return registry.features["digits"]()


def _triples(positions: np.ndarray, count: int, stream: int) -> np.ndarray:
    """(count, 3), drawn from `positions` with replacement: the same with every version of numpy, others by `stream`."""
    at = np.arange(3 * count) + math.prod((stream, 3, TRAIN))
    return positions[(split.splitmix(at) % np.uint64(len(positions))).astype(np.int64)].reshape(count, 3)
