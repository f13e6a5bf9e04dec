"""Find the point of a latent space whose image is nearest to a given image, or to the known part of it.

A search by gradient descent (Zhu 2016, arXiv 1609.03552, sec. 3.1) from several starting points, of which the best is
kept. What is known of an image may be all of it, what a mask leaves (Yeh 2017, arXiv 1607.07539), or a smaller version
(PULSE; Menon 2020, arXiv 2003.03808): images are compared by that alone.

Legend: N images, C H W an image, h w what is known of it, K starting points, P candidates that these are chosen from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.seeding import mix
from mulligan.core.step import unchanged
from mulligan.engine.sampling import CHUNK, noise_at
from mulligan.latent.spaces import LatentBatch, Space, class_condition

AT_ONCE = 1 << 19  # numbers of the images that G makes at once,
MOST_CANDIDATES = 1 << 26  # and of the images of all candidates
HALVINGS = (1 / 8, 1 / 4, 1 / 2)  # of the steps, after which the worse half of the points is dropped
PERCEPTUAL_FROM = 1 / 2  # of the steps: the feature net costs more than G, and pixels choose well enough before

Maps = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class SearchSettings:
    """How long the search is, and what it minimises."""

    steps: int = 200  # of gradient descent
    starts: int = 8  # starting points of each image, of which one is left at the end
    draws: int = 1024  # candidates that these are chosen from, evenly over the classes
    rate: float = 0.1  # of Adam, in standard deviations of the space; falls to zero on a cosine
    shell: float = 0.3  # weight of the space's penalty on points far from samples; that of pixels is 1
    perceptual: float = 0.1  # weight of the distance by a feature net

    def __post_init__(self) -> None:
        for name, least in {"steps": 0, "starts": 1, "draws": 1}.items():
            if getattr(self, name) < least:
                raise UserError(f"--{name} {getattr(self, name)}: at least {least}")
        finite = all(map(math.isfinite, (self.rate, self.shell, self.perceptual)))
        if not finite or self.rate <= 0 or min(self.shell, self.perceptual) < 0:
            raise UserError("a rate must be above 0, and weights at least 0; all must be finite")


class Target(NamedTuple):
    """What is known of N images."""

    images: Tensor  # (N, C, h, w) in [-1, 1]
    weights: Tensor  # (N, 1, h, w), 1 where known, 0 where not


class LatentSearch:
    """Finds the points of images. The candidates depend on the seed alone, not on the images.

    `degrade` makes of G's images (B, C, H, W) what is known of the targets, (B, C, h, w). `classes` are those to choose
    from; None where G is given none.
    """

    def __init__(
        self,
        space: Space,
        z_shape: Sequence[int],
        classes: Sequence[int] | None,
        *,
        degrade: Callable[[Tensor], Tensor] = unchanged,
        maps: Maps | None = None,
        settings: SearchSettings | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.space, self.degrade, self.device = space, degrade, device
        self.settings = settings or SearchSettings()
        self.maps = maps if self.settings.perceptual else None
        self.by_class = classes is not None
        choices = classes or [0]
        with torch.no_grad():
            one = noise_at(0, 0, z_shape)[None].to(device)
            cond = self._cond(torch.tensor(list(choices)[:1], device=device))
            self.numbers = space.images(space.latents(one, cond), cond).numel()  # of an image
            count = max(
                min(self.settings.draws, MOST_CANDIDATES // self.numbers), self.settings.starts, len(classes or ())
            )
            z = torch.stack([noise_at(mix("invert", seed), i, z_shape) for i in range(count)]).to(device)
            self.ids = torch.tensor([choices[i % len(choices)] for i in range(count)], device=device)  # (P,)
            chunks = self._chunks(z, self.ids)
            self.candidates = torch.cat([space.latents(a, self._cond(b)) for a, b in chunks])  # (P, *shape)
            chunks = self._chunks(self.candidates, self.ids)
            self.pool = torch.cat([degrade(space.images(a, self._cond(b))) for a, b in chunks])  # (P, C, h, w)

    def find(self, target: Target, guess: LatentBatch | None = None) -> LatentBatch:
        """The best point of each of N images, on the CPU. `guess`: one more starting point for each."""
        size = max(1, AT_ONCE // (self.settings.starts * self.numbers))
        found = []
        for start in range(0, len(target.images), size):
            rows = slice(start, start + size)
            some = Target(*(each[rows].to(self.device) for each in target))
            found.append(self._find(some, guess and guess.take(rows)))
        return LatentBatch.cat(found)

    @torch.no_grad()
    def images(self, found: LatentBatch) -> Tensor:
        """(N, C, H, W), in [-1, 1] or a little beyond."""
        ids = torch.zeros(len(found.latents), dtype=torch.int64) if found.classes is None else found.classes
        chunks = self._chunks(found.latents.to(self.device), ids.to(self.device))
        return torch.cat([self.space.images(latents, self._cond(some)) for latents, some in chunks])

    def _chunks(self, *tensors: Tensor) -> zip[tuple[Tensor, ...]]:
        return zip(*(each.split(CHUNK) for each in tensors), strict=True)

    def _cond(self, ids: Tensor) -> Condition:
        """What G is given with class ids, which count only where it is given any."""
        return class_condition(ids if self.by_class else None)

    def _find(self, target: Target, guess: LatentBatch | None) -> LatentBatch:
        """Adam from the K best candidates of each image; after each of `HALVINGS` the worse half is dropped."""
        latents, ids = self._starts(target, guess)  # (N, K, *shape), (N, K)
        maps = None if self.maps is None else [each[:, None] for each in self.maps(target.images * target.weights)]
        steps = self.settings.steps
        ends = sorted({round(share * steps) for share in HALVINGS} | {steps})
        free, done = (latents / self.space.std).detach(), 0
        for end in ends:
            compared = maps if done >= round(PERCEPTUAL_FROM * steps) else None
            free = free.requires_grad_()
            adam = torch.optim.Adam([free], lr=self.settings.rate, betas=(0.9, 0.99))
            for step in range(done, end):
                adam.param_groups[0]["lr"] = self.settings.rate * (1 + math.cos(math.pi * step / steps)) / 2
                (free.grad,) = torch.autograd.grad(self._loss(free, ids, target, compared).sum(), free)
                adam.step()
            done, free = end, free.detach()
            keep = 1 if end == steps else -(-free.shape[1] // 2)
            if keep < free.shape[1]:
                with torch.no_grad():
                    best = self._loss(free, ids, target, compared).topk(keep, 1, largest=False).indices
                rows = torch.arange(len(free), device=free.device)[:, None]
                free, ids = free[rows, best], ids[rows, best]
        return LatentBatch((free[:, 0] * self.space.std).cpu(), ids[:, 0].cpu() if self.by_class else None)

    def _starts(self, target: Target, guess: LatentBatch | None) -> tuple[Tensor, Tensor]:
        """The K candidates nearest to each image by what is known of it; a guess replaces the last of them."""
        x, w = target.images.flatten(1), target.weights.expand_as(target.images).flatten(1)
        y = self.pool.flatten(1)
        distance = w @ y.square().T - 2 * (w * x) @ y.T  # (N, P): sum of w (x - y)^2, up to a constant of each image
        best = distance.topk(self.settings.starts, 1, largest=False).indices
        latents, ids = self.candidates[best], self.ids[best]
        if guess is not None:
            latents[:, -1] = guess.latents.to(latents)
            if guess.classes is not None:
                ids[:, -1] = guess.classes.to(ids)
        return latents, ids

    def _loss(self, free: Tensor, ids: Tensor, target: Target, maps: list[Tensor] | None) -> Tensor:
        """(N, K): mean squared error of known pixels, the penalty on the point, and the distance by maps, if given."""
        count = free.shape[:2]
        latents = (free * self.space.std).flatten(0, 1)
        made = self.degrade(self.space.images(latents, self._cond(ids.flatten()))).unflatten(0, count)
        made = made * target.weights[:, None]
        error = (made - (target.images * target.weights)[:, None]).square().flatten(2).sum(2)
        known = target.weights.flatten(1).sum(1) * target.images.shape[1]
        loss = error / known[:, None] + self.settings.shell * self.space.penalty(latents).view(count)
        if maps is not None and self.maps is not None:
            ours = self.maps(made.flatten(0, 1))
            far = [(a.unflatten(0, count) - b).abs().flatten(2).mean(2) for a, b in zip(ours, maps, strict=True)]
            loss = loss + self.settings.perceptual * torch.stack(far).mean(0)
        return loss
