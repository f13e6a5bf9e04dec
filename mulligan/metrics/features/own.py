"""The `self` feature net: a small encoder learnt from the user's own images, for what no other net was made for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.core.seeding import mix
from mulligan.metrics.classifier import Classifier, fitted
from mulligan.metrics.features.net import freeze, stamp_of

RATE, TEMPERATURE, PROJECTED = 3e-3, 0.2, 64
Deal = Callable[
    [int], tuple[Tensor, Tensor]
]  # step -> images, uint8 or in [-1, 1], and classes, or other views of them


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
        """By class where `build` was told of any; else by telling each image's two views from all other images'."""
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix("self", seed))
        net = Classifier(shape, width)
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        views = torch.cat(deal(step)).to(device)
        seen = F.normalize(net(to_float(views)))
        alike = (seen @ seen.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        other = torch.arange(len(seen), device=alike.device).roll(len(seen) // 2)
        loss = F.cross_entropy(alike, other)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


@features.register("self")
def own(
    *,
    steps: int = 600,  # of learning, of 64 images each
    seed: int = 0,
) -> OwnNet:
    """A small encoder learnt from the training images, by class where they have labels; kept in the cache."""
    return OwnNet(steps, seed)
