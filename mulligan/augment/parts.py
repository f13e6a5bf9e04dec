"""Augmentations as parts of a recipe: which operations, how likely, and whether that adapts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mulligan.augment.dealt import jittered
from mulligan.augment.operations import COLOURS, OPERATIONS, Dice, augment
from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError, unknown
from mulligan.core.registry import augmentations
from mulligan.core.step import View, plainly

EVERY = 4  # steps between two adaptations: reading a number waits for the device


@dataclass(frozen=True)
class Augmentation:
    """Which operations, and how likely each is: fixed, or moved so that D is right as often as `target` says."""

    operations: tuple[str, ...] = ()
    start: float = 0.0
    target: float | None = None  # of 2 wins - 1, wins being how often D ranks a real image above a generated one
    most: float = 0.8
    pseudo: bool = False  # instead of operations, generated images are passed off as real
    dealt: Callable[[Tensor, Generator], Tensor] | None = None  # what training images (B, C, H, W) are made beforehand

    def __post_init__(self) -> None:
        if wrong := [name for name in self.operations if name not in OPERATIONS]:
            raise unknown("augmentation", wrong[0], OPERATIONS)
        if not (0 <= self.start <= 1 and 0 <= self.most <= 1):
            raise UserError(f"p={self.start} and most={self.most} must be from 0 to 1")

    @property
    def moves(self) -> bool:
        """Whether D is shown images otherwise than as they were dealt and made."""
        return bool(self.operations or self.pseudo)

    def views(
        self, count: int, strength: float, device: torch.device, *, paired: bool, fresh: Callable[[], Tensor]
    ) -> tuple[View, View]:
        """What D is shown of the reals and of the fakes of one batch of `count`; `fresh` makes other fakes of it."""
        if strength == 0 or not self.moves:
            return plainly, plainly
        seeds = torch.randint(1 << 62, (2,)).tolist()  # from the step's own dice
        if self.pseudo:
            return self._passed_off(seeds[0], strength, count, fresh), plainly

        def view(seed: int) -> View:
            def see(x: Tensor) -> Tensor:
                with torch.autocast(x.device.type, enabled=False):  # places need all their digits
                    return augment(x.float(), self.operations, Dice(seed, strength, count, len(x), device))

            return see

        return view(seeds[0]), view(seeds[0] if paired else seeds[1])

    def _passed_off(self, seed: int, strength: float, count: int, fresh: Callable[[], Tensor]) -> View:
        others = functools.cache(torch.no_grad()(fresh))

        def see(x: Tensor) -> Tensor:
            which = append_dims(Dice(seed, strength, count, len(x), x.device).happens(), x.ndim)
            return torch.where(which > 0, others()[: len(x)].to(x.dtype), x)

        return see

    def strength(self, moved: float) -> float:
        return min(max(self.start + moved, 0.0), max(self.start, self.most))

    def adapt(self, moved: float, wins: Tensor, step: int, images: int, budget: int) -> float:
        """How far the strength is moved from its start, after a step of `images` in which D was right in `wins` (B,).

        From 0 to 1 in a fifth of the budget at most. Karras 2020, sec. 3.1, where 2 wins - 1 stands for its r_t, the
        mean sign of D on reals: it means the same for losses whose logits have no zero.
        """
        if self.target is None or step % EVERY:
            return moved
        sure = 2 * wins.mean().item() - 1
        by = EVERY * images / min(500_000, 0.2 * budget)
        return self.strength(moved + math.copysign(by, sure - self.target)) - self.start


PIXELS = ("flip", "quarter", "shift")
GEOMETRY = ("scale", "rotate", "stretch", "slide")


@augmentations.register()
def none() -> Augmentation:
    """D is shown what there is."""
    return Augmentation()


@augmentations.register()
def diffaugment(
    *,
    policy: tuple[str, ...] = ("color", "translation", "cutout"),
    p: float = 1.0,  # how likely each is
) -> Augmentation:
    """Always the same few that do not leak (Zhao 2020, arXiv 2006.10738)."""
    return Augmentation(policy, p)


@augmentations.register()
def ada(
    *,
    operations: tuple[str, ...] = PIXELS + GEOMETRY + tuple(COLOURS),  # "bgc"; also there: filtered, noise, cutout
    p: float = 0.0,  # to begin with
    target: float = 0.6,  # of 2 wins - 1: D is right in 80 % of all pairs
    most: float = 0.8,  # beyond which augmentations would show in the samples
) -> Augmentation:
    """Adaptive: as likely as it takes to keep D from being too sure (Karras 2020, arXiv 2006.06676)."""
    return Augmentation(operations, p, target, most)


@augmentations.register()
def apa(*, p: float = 0.0, target: float = 0.6, most: float = 0.8) -> Augmentation:
    """Adaptive pseudo augmentation: some fakes are shown to D as reals (Jiang 2021, arXiv 2111.06849)."""
    return Augmentation((), p, target, most, pseudo=True)


@augmentations.register()
def jitter(
    *,
    enlarge: float = 286 / 256,  # sides, before each image is cropped to its size again; 1: not at all
    mirror: bool = True,  # half of the images
) -> Augmentation:
    """Not what D is shown but what is dealt: images of training, each time cropped and mirrored otherwise; pairs alike.

    Isola 2017, arXiv 1611.07004, sec. 6.2. G learns to draw mirrored and cropped images too.
    """
    if not 1 <= enlarge <= 4:
        raise UserError(f"enlarge={enlarge:g} must be from 1 to 4")
    return Augmentation(dealt=functools.partial(jittered, enlarge=enlarge, mirror=mirror))
