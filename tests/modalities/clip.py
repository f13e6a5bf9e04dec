"""A toy modality of rank 3 in one file: clips of a moving dot, with networks, a feature net and a recipe of its own.

Nothing in the package knows of it: `--with clip.py` is all it takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Term
from mulligan.core.registry import discriminators, features, generators, kinds, readers, recipes
from mulligan.core.sample import Sample, Writer
from mulligan.data import CheckUp, Dataset, Opening
from mulligan.metrics.features.net import FeatureNet

TRAIN, HELD_OUT, FRAMES, SIDE = 200, 60, 4, 8


@kinds.register("clip")
@dataclass(frozen=True, kw_only=True)
class ClipSample(Sample):
    """A film, (channels, time, height, width)."""

    kind: ClassVar[str] = "clip"
    noun: ClassVar[str] = "clips"
    axes: ClassVar[str] = "THW"
    stored: ClassVar[str] = "uint8"
    features: ClassVar[str] = "clip-motion"
    recipe: ClassVar[str] = "clip-gan"
    on_sheet: ClassVar[int] = 4

    shape: tuple[int, int, int, int]  # channels, frames, height, width

    def to_net(self, records: Tensor) -> Tensor:
        return records.float() / 127.5 - 1

    def to_records(self, samples: Tensor) -> Tensor:
        return ((samples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def sheet(self, records: Tensor, columns: int | None = None) -> Image.Image:
        """One row a clip, frame beside frame."""
        rows = records[:, 0].permute(0, 2, 1, 3).flatten(2).flatten(0, 1)  # (N H, T W)
        return Image.fromarray(rows.contiguous().numpy())

    def formats(self) -> dict[str, tuple[str, Writer]]:
        return {**super().formats(), ".gif": ("the first one, moving", self._write_gif)}

    def _write_gif(self, out: Path, records: Tensor, labels: Tensor | None) -> None:
        first, *rest = (Image.fromarray(frame.numpy()) for frame in records[0, 0])
        first.save(out, save_all=True, append_images=rest, duration=100, loop=0)


@readers.register("dots", kinds={"clip"}, names=["dots"])
def dots(spec: str, opening: Opening) -> Dataset:
    """A dot that moves to the right."""
    rng = np.random.default_rng(0)
    count = TRAIN + HELD_OUT
    records = np.zeros((count, 1, FRAMES, SIDE, SIDE), np.uint8)
    y, x = rng.integers(SIDE, size=count), rng.integers(SIDE - FRAMES, size=count)
    for frame in range(FRAMES):
        records[np.arange(count), 0, frame, y, x + frame] = 255
    return Dataset(
        name=spec,
        sample=ClipSample(shape=records.shape[1:]),
        rows=lambda indices: torch.from_numpy(records[indices]),
        train=np.arange(TRAIN),
        heldout=np.arange(TRAIN, count),
        fingerprint=hashlib.blake2b(records.tobytes(), digest_size=16).hexdigest(),
        checkup=CheckUp(
            source="dots", path=spec, bytes=records.nbytes, files=count, samples=count,
            shape={"frames": FRAMES, "height": SIDE, "width": SIDE}, train=TRAIN, heldout=HELD_OUT,
            plan=[f"see {TRAIN} clips"],
        ),
    )  # fmt: skip


@generators.register("clip", kinds={"clip"})
class ClipGenerator(Generator):
    """Dense, then one transposed convolution over time and space."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: int = 8,  # channels
        z: int = 16,  # noise numbers
    ) -> None:
        super().__init__()
        self.z_shape, self.space = (z,), [side // 2 for side in sample.shape[1:]]
        self.dense = nn.Linear(z, width * int(np.prod(self.space)))
        self.up = nn.ConvTranspose3d(width, sample.shape[0], 4, 2, 1)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        return self.up(self.dense(z).relu().unflatten(1, (-1, *self.space))).tanh()


@discriminators.register("clip", kinds={"clip"})
class ClipDiscriminator(Discriminator):
    """One convolution over time and space, then dense."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: int = 8,  # channels
    ) -> None:
        super().__init__()
        self.down = nn.Conv3d(sample.shape[0], width, 4, 2, 1)
        self.dense = nn.Linear(width * int(np.prod(sample.shape[1:])) // 8, 1)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        h = nn.functional.leaky_relu(self.down(x), 0.2)
        return Judgement([self.dense(h.flatten(1)).squeeze(1)], [h])


class Motion(FeatureNet):
    """How bright each row and each frame is."""

    dim, stamp, describe, resizing, block = (
        FRAMES * SIDE,
        "motion-1",
        "motion: brightness by frame and row",
        "none",
        100,
    )

    def forward(self, samples: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, T H)."""
        return samples.mean((1, 4)).flatten(1)


@features.register("clip-motion", kinds={"clip"})
def motion() -> Motion:
    """Brightness by frame and row."""
    return Motion()


@recipes.register("clip-gan")
def clip_gan() -> Recipe:
    """Non-saturating loss and R1."""
    adam = Part("adam", lr=1e-3)
    return Recipe(
        name="clip-gan", about="a toy",
        generator=Part("clip"), discriminator=Part("clip"), loss=Part("nonsaturating"),
        terms={"r1": Term(0.1)}, optimizer=OptimizerPair(generator=adam, discriminator=adam), batch=16,
        budget=Budget(samples=1000),
    )  # fmt: skip
