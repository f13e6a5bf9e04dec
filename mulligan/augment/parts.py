"""Augmentations as parts of a recipe: which operations, with what probability, and whether it adapts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mulligan.augment.jitter import jittered
from mulligan.augment.operations import COLOURS, OPERATIONS, SampleRng, augment
from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError, unknown
from mulligan.core.registry import augmentations
from mulligan.core.step import View, unchanged

EVERY = 4  # steps between two adaptations: reading a number waits for the device


@dataclass(frozen=True)
class AdaptiveAugmentation:
    """Operations and their probability: fixed, or adapted until D ranks as many pairs correctly as `target` says."""

    operations: tuple[str, ...] = ()
    start: float = 0.0
    target: float | None = None  # of 2 wins - 1; wins: share of pairs in which D ranks the real sample higher
    most: float = 0.8
    pseudo: bool = False  # instead of operations, some generated samples are presented as real
    vary: Callable[[Tensor, Generator], Tensor] | None = None  # applied to training samples before they are batched

    def __post_init__(self) -> None:
        if wrong := [name for name in self.operations if name not in OPERATIONS]:
            raise unknown("augmentation", wrong[0], OPERATIONS)
        if not (0 <= self.start <= 1 and 0 <= self.most <= 1):
            raise UserError(f"p={self.start} and most={self.most} must be from 0 to 1")

    @property
    def changes_views(self) -> bool:
        """Whether D sees samples other than those that were loaded and generated."""
        return bool(self.operations or self.pseudo)

    def views(
        self, count: int, strength: float, device: torch.device, *, paired: bool, fresh: Callable[[], Tensor]
    ) -> tuple[View, View]:
        """The views of the reals and of the fakes of one batch of `count`; `fresh` generates other fakes for it."""
        if strength == 0 or not self.changes_views:
            return unchanged, unchanged
        seeds = torch.randint(1 << 62, (2,)).tolist()  # from the step's own random state
        if self.pseudo:
            return self._pseudo_view(seeds[0], strength, count, fresh), unchanged

        def view_of(seed: int) -> View:
            def view(x: Tensor) -> Tensor:
                with torch.autocast(x.device.type, enabled=False):  # positions need full precision
                    return augment(x.float(), self.operations, SampleRng(seed, strength, count, len(x), device))

            return view

        return view_of(seeds[0]), view_of(seeds[0] if paired else seeds[1])

    def _pseudo_view(self, seed: int, strength: float, count: int, fresh: Callable[[], Tensor]) -> View:
        fakes = functools.cache(torch.no_grad()(fresh))

        def view(x: Tensor) -> Tensor:
            replaced = append_dims(SampleRng(seed, strength, count, len(x), x.device).happens(), x.ndim)
            return torch.where(replaced > 0, fakes()[: len(x)].to(x.dtype), x)

        return view

    def strength(self, offset: float) -> float:
        return min(max(self.start + offset, 0.0), max(self.start, self.most))

    def adapt(self, offset: float, wins: Tensor, step: int, samples: int, budget: int) -> float:
        """The new offset of the strength from its start, after a step of `samples` with D's `wins` (B,), 0 to 1 each.

        The strength changes from 0 to 1 in a fifth of the budget at most. Karras 2020, sec. 3.1, with 2 wins - 1 in
        place of its r_t, the mean sign of D on reals: it has the same meaning for losses whose logits have no zero.
        """
        if self.target is None or step % EVERY:
            return offset
        lead = 2 * wins.mean().item() - 1
        change = EVERY * samples / min(500_000, 0.2 * budget)
        return self.strength(offset + math.copysign(change, lead - self.target)) - self.start


PIXELS = ("flip", "quarter", "shift")
GEOMETRY = ("scale", "rotate", "stretch", "slide")


@augmentations.register()
def none() -> AdaptiveAugmentation:
    """D sees samples as they are."""
    return AdaptiveAugmentation()


@augmentations.register(kinds={"image"})
def diffaugment(
    *,
    policy: tuple[str, ...] = ("color", "translation", "cutout"),  # names of operations
    p: float = 1.0,  # probability of each operation, 0 to 1
) -> AdaptiveAugmentation:
    """A few operations that do not leak into the samples, always (Zhao 2020, arXiv 2006.10738)."""
    return AdaptiveAugmentation(policy, p)


@augmentations.register(kinds={"image"})
def ada(
    *,
    operations: tuple[str, ...] = PIXELS + GEOMETRY + tuple(COLOURS),  # names; also: filtered, noise, cutout
    p: float = 0.0,  # probability of each operation at the start, 0 to 1
    target: float = 0.6,  # of 2 wins - 1; 0.6: D ranks 80 % of all pairs correctly
    most: float = 0.8,  # highest probability; above it augmentations would leak into the samples
) -> AdaptiveAugmentation:
    """Adaptive: the probability rises until D is no longer too certain (Karras 2020, arXiv 2006.06676)."""
    return AdaptiveAugmentation(operations, p, target, most)


@augmentations.register()
def apa(
    *,
    p: float = 0.0,  # probability at the start that a fake replaces a real sample, 0 to 1
    target: float = 0.6,  # of 2 wins - 1; 0.6: D ranks 80 % of all pairs correctly
    most: float = 0.8,  # highest probability
) -> AdaptiveAugmentation:
    """Adaptive pseudo augmentation: some fakes are presented to D as real (Jiang 2021, arXiv 2111.06849)."""
    return AdaptiveAugmentation((), p, target, most, pseudo=True)


@augmentations.register(kinds={"image"})
def jitter(
    *,
    enlarge: float = 286 / 256,  # factor, 1 to 4, before each image is cropped to its size again; 1: not at all
    mirror: bool = True,  # half of the images, left to right
) -> AdaptiveAugmentation:
    """Training images are cropped and mirrored at random, for G and D; both images of a pair in the same way.

    Isola 2017, arXiv 1611.07004, sec. 6.2. G learns to generate mirrored and cropped images too.
    """
    if not 1 <= enlarge <= 4:
        raise UserError(f"enlarge={enlarge:g} must be from 1 to 4")
    return AdaptiveAugmentation(vary=functools.partial(jittered, enlarge=enlarge, mirror=mirror))
