"""A small classifier for any labelled images, trained in seconds: it measures what generated images are worth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.seeding import mix

WIDTH, WIDEST = 16, 128  # channels of the first convolution; doubled when the side is halved, up to the second
SMALLEST = 8  # side in pixels from which it is not halved further
RATE, BATCH = 3e-3, 64  # the highest learning rate; images


class Classifier(nn.Module):
    """Strided convolutions with batch norm, averaged over the quarters of the image; the last layer is `head`."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise UserError(f"a classifier needs at least 2 classes; there {'is' if classes == 1 else 'are'} {classes}")
        channels, side = shape[0], max(shape[1:])
        layers, width = _conv(channels, WIDTH), WIDTH
        while side > SMALLEST:
            layers += _conv(width, min(2 * width, WIDEST), stride=2)
            width, side = min(2 * width, WIDEST), -(-side // 2)
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * width, classes)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float in [-1, 1] -> (B, 4 * width)."""
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float in [-1, 1] -> logits (B, classes)."""
        return self.head(self.features(images))


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


BatchAt = Callable[[int], tuple[Tensor, Tensor]]  # step -> images, uint8 or in [-1, 1], and labels or other images


def fitted(
    shape: tuple[int, int, int],
    classes: int,
    batch_at: BatchAt,
    *,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Classifier:
    """A classifier trained for so many steps; `batch_at` gives each step's images and their classes (B,)."""

    def loss(net: Classifier, step: int) -> Tensor:
        images, labels = batch_at(step)
        return F.cross_entropy(net(to_float(images.to(device))), labels.to(device))

    return trained(shape, classes, loss, steps=steps, seed=seed, device=device)


def trained(
    shape: tuple[int, int, int],
    width: int,
    loss: Callable[[Classifier, int], Tensor],
    *,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Classifier:
    """A net with `width` outputs after so many steps of AdamW on `loss(net, step)`; the rate rises and falls once.

    The same seed gives the same initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix("classifier", seed))
        net = Classifier(shape, width)
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss(net, step).backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


@torch.inference_mode()
def outputs(
    net: Callable[[Tensor], Tensor], images: Tensor, device: torch.device | str = "cpu", block: int = 500
) -> Tensor:
    """Outputs (N, ...), on the CPU, of the net or a part of it for images uint8 (N, C, H, W), `block` at a time."""
    return torch.cat([net(to_float(part.to(device))).cpu() for part in images.split(block)])
