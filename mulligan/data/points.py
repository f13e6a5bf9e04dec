"""Mixtures of Gaussians in a plane: data whose modes one can see and count, so that a collapse shows in seconds.

The two that papers draw, brought into [-1, 1]: eight modes on a ring (Metz 2017, arXiv 1611.02163) and twenty-five on a
grid (Srivastava 2017, arXiv 1705.07761).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.data.checkup import CheckUp

COUNT, HELD_OUT = 50_000, 5_000
NEAR = 3.0  # standard deviations from a mode within which a sample is of high quality
SEED = 0


@dataclass(frozen=True)
class Mixture:
    """Equally likely round Gaussians at `centres` (K, 2), of standard deviation `std`."""

    about: str
    centres: np.ndarray
    std: float


def _ring() -> Mixture:
    angles = np.arange(8) * np.pi / 4
    return Mixture("a ring of 8 Gaussians", 0.8 * np.stack([np.cos(angles), np.sin(angles)], 1), 0.008)


def _grid() -> Mixture:
    side = np.linspace(-0.8, 0.8, 5)
    return Mixture("a grid of 25 Gaussians", np.stack(np.meshgrid(side, side), 2).reshape(-1, 2), 0.01)


MIXTURES: dict[str, Callable[[], Mixture]] = {"ring": _ring, "grid": _grid}


@dataclass(frozen=True, eq=False)
class PointData:
    """Points (N, 2) by index, in [-1, 1]; else as `ImageData`. The classes are the modes, if labels are asked for."""

    name: str
    mixture: Mixture
    classes: list[str]
    labels: np.ndarray | None
    points: np.ndarray  # (N, 2) float32
    checkup: CheckUp
    fingerprint: str
    shape: tuple[int] = (2,)
    measures: tuple[str, ...] = ("modes", "quality")
    features: str = "plain"

    @property
    def heldout(self) -> np.ndarray:
        return np.arange(HELD_OUT)

    @property
    def train(self) -> np.ndarray:
        return np.arange(HELD_OUT, len(self.points))

    @property
    def count(self) -> int:
        return len(self.points)

    @property
    def class_counts(self) -> list[int]:
        return list(self.checkup.classes.values())

    def images(self, indices: np.ndarray | Sequence[int]) -> Tensor:
        """float32 (B, 2)."""
        return torch.from_numpy(self.points[np.asarray(indices, np.int64)])

    def label_of(self, indices: np.ndarray | Sequence[int]) -> Tensor | None:
        return None if self.labels is None else torch.from_numpy(self.labels[np.asarray(indices, np.int64)])

    def modes(self, samples: Tensor, seen: Tensor | None = None) -> dict[str, float]:
        """Of (n, 2) samples: how many modes one of high quality lies at, and the share of those that are."""
        distance = torch.cdist(samples.double(), torch.from_numpy(self.mixture.centres))
        nearest, mode = distance.min(1)
        good = nearest <= NEAR * self.mixture.std
        return {"modes": float(mode[good].unique().numel()), "quality": good.double().mean().item()}


def open_points(name: str, *, labels: bool) -> PointData:
    """One of `MIXTURES`: always the same points."""
    mixture = MIXTURES[name]()
    dice = np.random.default_rng(SEED)
    mode = dice.integers(len(mixture.centres), size=COUNT)
    points = (mixture.centres[mode] + mixture.std * dice.standard_normal((COUNT, 2))).astype(np.float32)
    classes = [f"{x:.2f},{y:.2f}" for x, y in mixture.centres] if labels else []
    train = COUNT - HELD_OUT
    checkup = CheckUp(
        kind="mixture", path=name, bytes=points.nbytes, files=COUNT, images=COUNT, shape={"numbers": 2},
        sizes={}, modes={}, classes=dict(zip(classes, np.bincount(mode).tolist(), strict=True)) if labels else {},
        train=train, heldout=HELD_OUT, duplicates=0, duplicate_pairs=[], constant=0, unreadable=[], ignored={},
        resize="",
        plan=[f"see {train:,} points of {mixture.about}", f"never see {HELD_OUT:,} others, held out to measure by"],
    )  # fmt: skip
    return PointData(
        name=name,
        mixture=mixture,
        classes=classes,
        labels=mode if labels else None,
        points=points,
        checkup=checkup,
        fingerprint=hashlib.blake2b(points.tobytes() + bytes(labels), digest_size=16).hexdigest(),
    )


def refuse_picture_options(name: str, **options: object) -> None:
    """Raises UserError for an option that only pictures have."""
    for option, value in options.items():
        if value is not None:
            raise UserError(f"{name}: is made of points; --{option} is for images")
