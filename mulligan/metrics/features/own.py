"""The `self` feature net: a small encoder learnt from the user's own images, for what no other net was made for."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.metrics.classifier import Classifier, Deal, fitted, taught
from mulligan.metrics.features.net import freeze, stamp_of

TEMPERATURE, PROJECTED = 0.2, 64


class OwnNet(nn.Module):
    """A classifier's trunk. It has to `learn`, or be given its weights, before it is of any use."""

    block = 250

    def __init__(self, steps: int, seed: int) -> None:
        super().__init__()
        self.steps, self.seed = steps, seed
        self.stamp, self.describe, self.resizing = "", "self: unlearnt", "none"

    def build(self, shape: tuple[int, int, int], classes: int) -> None:
        """Take the form for images of `shape`; `classes` is 0 where they have none."""
        self.shape = shape
        self.net = Classifier(shape, classes or PROJECTED)
        self.dim = self.net.head.in_features

    def learn(self, deal: Deal, device: torch.device | str = "cpu") -> None:
        """From `deal`, by classes where it gives such; else it gives two views, and each is told from other images'."""
        learner = fitted if deal(0)[1].ndim == 1 else contrasted
        width = self.net.head.out_features
        self.net = learner(self.shape, width, deal, steps=self.steps, seed=self.seed, device=device)

    def ready(self, how: str) -> None:
        """Weights are in: only to be used from now on."""
        freeze(self)
        height, width = self.shape[1:]
        self.stamp, self.resizing = stamp_of(self), f"{width}x{height}, as they come"
        self.describe = f"self: small encoder, {how} ({self.steps} steps, seed {self.seed})"

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float in [-1, 1] -> (B, dim). Raises UserError for another shape than it has learnt."""
        if images.shape[1:] != self.shape:
            given, own = ("x".join(map(str, shape)) for shape in (images.shape[1:], self.shape))
            raise UserError(f"the feature net 'self' has learnt images of {own}, and these are {given}")
        return self.net.features(images)


def contrasted(
    shape: tuple[int, int, int], width: int, deal: Deal, *, steps: int, seed: int, device: torch.device | str = "cpu"
) -> Classifier:
    """A trunk learnt without labels (SimCLR, Chen 2020, arXiv 2002.05709, eq. 1): `deal` gives two views of a batch.

    The head is its projection, `width` wide, which is of no use afterwards.
    """

    def loss(net: Classifier, step: int) -> Tensor:
        seen = F.normalize(net(to_float(torch.cat(deal(step)).to(device))))
        alike = (seen @ seen.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        return F.cross_entropy(alike, torch.arange(len(seen), device=alike.device).roll(len(seen) // 2))

    return taught(shape, width, loss, steps=steps, seed=seed, device=device)


@features.register("self")
def own(
    *,
    steps: PositiveInt = 600,  # of learning, of 64 images each
    seed: int = 0,
) -> OwnNet:
    """A small encoder learnt from the training images, by class where they have labels; kept in the cache."""
    return OwnNet(steps, seed)
