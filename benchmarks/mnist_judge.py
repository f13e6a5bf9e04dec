"""Metrics of digits that do not use Mulligan's feature net, against MNIST images that do not ship with Mulligan.

The features are those of a small convolutional network, trained on images of MNIST's training set. The reference is
`count` other images, none of them among the 5,000 digits that ship with Mulligan. Distances fall as the count grows;
MNIST's test set has 10,000. The network is trained once for each count (three minutes) and stored in a file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.data import open_data
from mulligan.metrics.distances import measure


class Net(nn.Module):
    """A classifier of small images (C, H, W); the 128 activations before its last layer are the features."""

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()

        def conv(a: int, b: int) -> list[nn.Module]:
            return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]

        pool = nn.MaxPool2d(2)
        channels, height, width = shape
        convs = *conv(channels, 32), *conv(32, 32), pool, *conv(32, 64), *conv(64, 64), pool
        self.trunk = nn.Sequential(*convs, nn.Flatten())
        self.dense, self.head = nn.Linear(64 * (height // 4) * (width // 4), 128), nn.Linear(128, classes)

    def features(self, images: Tensor) -> Tensor:
        return F.relu(self.dense(self.trunk(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(images), 0.3, self.training))


def shifted(images: Tensor) -> Tensor:
    return torch.roll(images, tuple(torch.randint(-2, 3, (2,)).tolist()), (2, 3))


def trained(
    images: Tensor, labels: Tensor, epochs: int = 3, batch: int = 128, augment: Callable[[Tensor], Tensor] = shifted
) -> Net:
    """A net trained with seed 0 on uint8 images (N, C, H, W), each batch changed by `augment`."""
    torch.manual_seed(0)
    net = Net(tuple(images.shape[1:]), int(labels.max()) + 1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(images)).split(batch)[: len(images) // batch]:
            loss = F.cross_entropy(net(to_float(augment(images[some]))), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def add_options(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--mnist", required=True, help="folder with MNIST's training set as IDX files")
    arguments.add_argument("--judges", type=Path, default=Path(tempfile.gettempdir()), help="folder for trained judges")


class MnistJudge:
    """Compares samples with `count` images; `others` are as many more images, to measure what real ones score."""

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        digits, mnist = open_data("digits"), open_data(options.mnist)
        self.shipped = digits.records(np.arange(digits.count))
        known = {image.numpy().tobytes() for image in self.shipped}
        everything, labels = mnist.records(np.arange(mnist.count)), mnist.label_of(np.arange(mnist.count))
        fresh = np.array([i for i, image in enumerate(everything) if image.numpy().tobytes() not in known])
        np.random.default_rng(0).shuffle(fresh)
        reference, self.others = everything[fresh[:count]], everything[fresh[count : 2 * count]]
        self.usable = np.setdiff1d(np.arange(mnist.count), fresh[:count])  # for training
        stored = options.judges / f"mulligan-judge-{count}.pt"
        if stored.exists():
            self.net = Net().eval()
            self.net.load_state_dict(torch.load(stored, weights_only=True))
        else:
            train = np.setdiff1d(np.arange(mnist.count), fresh[: 2 * count])
            self.net = trained(everything[train], labels[train])
            torch.save(self.net.state_dict(), stored)
        self.real, classes = self._features(reference)
        self.accuracy = (classes == labels[fresh[:count]]).float().mean().item()
        self.protocol = f"{count} samples against {count} images of MNIST that are not shipped; k=5"

    @torch.inference_mode()
    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and predicted class of every image."""
        features = torch.cat([self.net.features(to_float(some)) for some in images.split(500)])
        return features, self.net.head(features).argmax(1)

    def score(self, images: Tensor) -> dict[str, Any]:
        """Metrics of uint8 (N, 1, 28, 28) against as many reference images, and the share of the rarest digit."""
        features, classes = self._features(images)
        found = measure(self.real[: len(images)], features)
        found["least_class_share"] = torch.bincount(classes, minlength=10).min().item() / len(images)
        return {name: round(value, 4) for name, value in found.items()}
