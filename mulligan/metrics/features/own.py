"""The `self` feature net: a small encoder trained on the user's own images, where no other net suits them."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.metrics.classifier import BatchAt, Classifier, fitted, trained
from mulligan.metrics.features.net import FeatureNet, freeze, stamp_of

TEMPERATURE, PROJECTED = 0.2, 64


class OwnNet(FeatureNet):
    """A classifier without its head. It must be built, then `learn` or be given weights, then be made `ready`."""

    block = 250

    def __init__(self, steps: int, seed: int) -> None:
        super().__init__()
        self.steps, self.seed = steps, seed
        self.describe = "self: untrained"

    def build(self, shape: tuple[int, int, int], classes: int) -> None:
        """Create the layers for images of `shape`, as `ImageSample.shape`; `classes` is 0 where they have no labels."""
        self.shape, self.by_class = shape, classes > 0
        self.net = Classifier(shape, classes or PROJECTED)
        self.dim = self.net.head.in_features

    def learn(self, batch_at: BatchAt, device: torch.device | str = "cpu") -> None:
        """Train on batches of images and their classes; without classes, on two views of each batch, by contrast."""
        learner = fitted if self.by_class else contrasted
        width = self.net.head.out_features
        self.net = learner(self.shape, width, batch_at, steps=self.steps, seed=self.seed, device=device)

    def ready(self, how: str) -> None:
        """The weights are final: freeze the net and name it; `how` says how they were learnt."""
        freeze(self)
        height, width = self.shape[1:]
        self.stamp, self.resizing = stamp_of(self), f"{width}x{height}, as they come"
        self.describe = f"self: small encoder, {how} ({self.steps} steps, seed {self.seed})"

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float in [-1, 1] -> (B, dim). Raises UserError for another shape than it was trained on."""
        if images.shape[1:] != self.shape:
            given, own = ("x".join(map(str, shape)) for shape in (images.shape[1:], self.shape))
            raise UserError(f"the feature net 'self' was trained on images of {own}, and these are {given}")
        return self.net.features(images)


def contrasted(
    shape: tuple[int, int, int],
    width: int,
    batch_at: BatchAt,
    *,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Trained without labels (SimCLR, Chen 2020, arXiv 2002.05709, eq. 1): `batch_at` gives two views of a batch.

    The head is the projection, of the given width; it has no use after training.
    """

    def loss(net: Classifier, step: int) -> Tensor:
        projected = F.normalize(net(to_float(torch.cat(batch_at(step)).to(device))))
        similarity = (projected @ projected.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        half = len(projected) // 2  # row i and row i + half are views of one image
        return F.cross_entropy(similarity, torch.arange(len(projected), device=similarity.device).roll(half))

    return trained(shape, width, loss, steps=steps, seed=seed, device=device)


@features.register("self", kinds={"image"})
def own(
    *,
    steps: PositiveInt = 600,  # of training, 64 images each
    seed: int = 0,  # of the initial weights and of the order of images
) -> OwnNet:
    """A small encoder trained on the training images, by class where they have labels; stored in the cache."""
    return OwnNet(steps, seed)
