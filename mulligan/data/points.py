"""Mixtures of Gaussians in a plane. Their modes can be seen and counted, so a mode collapse shows within seconds.

They are the two that papers show, scaled to [-1, 1]: 8 modes on a ring (Metz 2017, arXiv 1611.02163), and 25 on a grid
(Srivastava 2017, arXiv 1705.07761).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mulligan.core.registry import readers
from mulligan.data.checkup import CheckUp
from mulligan.data.dataset import Dataset, Modes
from mulligan.data.opening import Opening
from mulligan.kinds.points import PointSample

COUNT, HELD_OUT = 50_000, 5_000
RADIUS = 3.0  # around a mode, in standard deviations: samples within it are of high quality
SEED = 0


@dataclass(frozen=True)
class Mixture:
    """Equally likely, round Gaussians at `centres` (K, 2), with the standard deviation `std`."""

    about: str
    centres: np.ndarray
    std: float

    def count(self, samples: Tensor, features: Tensor | None = None) -> dict[str, float]:
        """Of samples (n, 2): the number of modes with a sample of high quality, and the share of such samples."""
        nearest, mode = torch.cdist(samples.double(), torch.from_numpy(self.centres)).min(1)
        good = nearest <= RADIUS * self.std
        return {"modes": float(mode[good].unique().numel()), "quality": good.double().mean().item()}


def _ring() -> Mixture:
    angles = np.arange(8) * np.pi / 4
    return Mixture("a ring of 8 Gaussians", 0.8 * np.stack([np.cos(angles), np.sin(angles)], 1), 0.008)


def _grid() -> Mixture:
    side = np.linspace(-0.8, 0.8, 5)
    return Mixture("a grid of 25 Gaussians", np.stack(np.meshgrid(side, side), 2).reshape(-1, 2), 0.01)


MIXTURES: dict[str, Callable[[], Mixture]] = {"ring": _ring, "grid": _grid}


@readers.register("mixture", kinds={"points"}, names=MIXTURES)
def mixture(
    spec: str | Path,
    opening: Opening,
    *,
    labels: bool = False,  # the modes are the classes
) -> Dataset:
    """A mixture of Gaussians in a plane, "ring" or "grid": always the same 50,000 points."""
    gaussians = MIXTURES[str(spec)]()
    rng = np.random.default_rng(SEED)
    mode = rng.integers(len(gaussians.centres), size=COUNT)
    points = (gaussians.centres[mode] + gaussians.std * rng.standard_normal((COUNT, 2))).astype(np.float32)
    classes = [f"{x:.2f},{y:.2f}" for x, y in gaussians.centres] if labels else []
    train = COUNT - HELD_OUT
    checkup = CheckUp(
        source="mixture", path=str(spec), bytes=points.nbytes, files=COUNT, samples=COUNT, shape={"numbers": 2},
        classes=dict(zip(classes, np.bincount(mode).tolist(), strict=True)) if labels else {},
        train=train, heldout=HELD_OUT,
        plan=[f"see {train:,} points of {gaussians.about}", f"never see {HELD_OUT:,} others, held out for measuring"],
    )  # fmt: skip
    return Dataset(
        name=str(spec),
        sample=PointSample(),
        rows=lambda indices: torch.from_numpy(points[indices]),
        classes=classes,
        labels=mode if labels else None,
        train=np.arange(HELD_OUT, COUNT),
        heldout=np.arange(HELD_OUT),
        checkup=checkup,
        fingerprint=hashlib.blake2b(points.tobytes() + bytes(labels), digest_size=16).hexdigest(),
        modes=Modes(("modes", "quality"), gaussians.count),
    )
