"""A judge of digits that Mulligan does not have: what samples score against MNIST images that are not shipped.

A small convolutional network trained on images of MNIST's training set; the reference is `count` others, none of which
is among the 5,000 digits that Mulligan ships. Distances fall with the count: 10,000 is that of MNIST's test set. The
network is trained once for each count (three minutes) and kept in a file.
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
    """A classifier of small pictures, (C, H, W); its 128 penultimate activations are the features."""

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
    images: Tensor, labels: Tensor, epochs: int = 3, batch: int = 128, seen: Callable[[Tensor], Tensor] = shifted
) -> Net:
    """A net of seed 0 that has learnt from uint8 (N, C, H, W), each batch as `seen` shows it."""
    torch.manual_seed(0)
    net = Net(tuple(images.shape[1:]), int(labels.max()) + 1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(images)).split(batch)[: len(images) // batch]:
            loss = F.cross_entropy(net(to_float(seen(images[some]))), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def add_options(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--mnist", required=True, help="folder with MNIST's training set as IDX files")
    arguments.add_argument("--judges", type=Path, default=Path(tempfile.gettempdir()), help="folder to keep them in")


class MnistJudge:
    """By `count` images and samples; `others` are as many further images, which show what real ones score."""

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        digits, mnist = open_data("digits"), open_data(options.mnist)
        self.shipped = digits.images(np.arange(digits.count))
        known = {image.numpy().tobytes() for image in self.shipped}
        everything, labels = mnist.images(np.arange(mnist.count)), mnist.label_of(np.arange(mnist.count))
        fresh = np.array([i for i, image in enumerate(everything) if image.numpy().tobytes() not in known])
        np.random.default_rng(0).shuffle(fresh)
        reference, self.others = everything[fresh[:count]], everything[fresh[count : 2 * count]]
        self.unseen = np.setdiff1d(np.arange(mnist.count), fresh[:count])  # what may be trained on
        kept = options.judges / f"mulligan-judge-{count}.pt"
        if kept.exists():
            self.net = Net().eval()
            self.net.load_state_dict(torch.load(kept, weights_only=True))
        else:
            learn = np.setdiff1d(np.arange(mnist.count), fresh[: 2 * count])
            self.net = trained(everything[learn], labels[learn])
            torch.save(self.net.state_dict(), kept)
        self.real, classes = self._look(reference)
        self.accuracy = (classes == labels[fresh[:count]]).float().mean().item()
        self.protocol = f"{count} samples against {count} images of MNIST that are not shipped; k=5"

    @torch.inference_mode()
    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and class of every image."""
        features = torch.cat([self.net.features(to_float(some)) for some in images.split(500)])
        return features, self.net.head(features).argmax(1)

    def score(self, images: Tensor) -> dict[str, Any]:
        """uint8 (N, 1, 28, 28), against as many of the reference -> the measures, and the share of the rarest digit."""
        features, classes = self._look(images)
        found = measure(self.real[: len(images)], features)
        found["least_class_share"] = torch.bincount(classes, minlength=10).min().item() / len(images)
        return {name: round(value, 4) for name, value in found.items()}
