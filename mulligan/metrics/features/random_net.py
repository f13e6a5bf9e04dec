"""The `random` feature net: a fixed, untrained convolutional net for images of any size. Its features are weak."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulligan.core.registry import features
from mulligan.core.seeding import generator_at
from mulligan.metrics.features.net import FeatureNet, freeze, stamp_of
from mulligan.metrics.features.pixels import resize

SIDE = 64
WIDTHS = (32, 64, 64)


class RandomNet(FeatureNet):
    """Three strided convolutions, averaged over quarters of the image; any number of channels, any size."""

    has_maps = True
    dim = WIDTHS[-1] * 4
    resizing = f"{SIDE}x{SIDE} antialias"
    block = 256
    describe = "random: untrained convolutions, weak: it shows only severe damage"

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.deep = nn.ParameterList(
            _weights(outputs, inputs, seed, depth) for depth, (inputs, outputs) in enumerate(pairwise(WIDTHS), start=1)
        )
        freeze(self)
        self.stamp = stamp_of(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float in [-1, 1] -> (B, 256)."""
        return F.avg_pool2d(self.maps(images)[-1], SIDE // 16).flatten(1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> (B, 32, 32, 32), (B, 64, 16, 16), (B, 64, 8, 8)."""
        x, maps = resize(images, SIDE, "antialias"), []
        # Each channel's weights are seeded by its index, so that the net is the same for any number of channels.
        first = torch.cat([_weights(WIDTHS[0], 1, self.seed, 0, channel) for channel in range(x.shape[1])], 1)
        for weights in [first.to(x.device) / x.shape[1] ** 0.5, *self.deep]:
            x = F.relu(F.conv2d(x, weights, stride=2, padding=1))  # 32, 16, 8 pixels wide
            maps.append(x)
        return maps


def _weights(outputs: int, inputs: int, *position: int) -> Tensor:
    """(outputs, inputs, 3, 3) with He 2015's variance; uniform, because uniform draws are equal on every machine."""
    draw = torch.rand(outputs, inputs, 3, 3, generator=generator_at("random feature net", *position))
    return (draw * 2 - 1) * (6 / (9 * inputs)) ** 0.5


@features.register(kinds={"image"}, gives={"maps"})
def random(
    *,
    seed: int = 0,  # of the weights; numbers can be compared only between equal seeds
) -> RandomNet:
    """A fixed, untrained convolutional net, for images that no other net was trained for."""
    return RandomNet(seed)
