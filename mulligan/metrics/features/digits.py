"""The `digits` feature net: a small classifier of handwritten digits, trained by benchmarks/train_digits_net.py."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn

from mulligan.core.registry import features
from mulligan.metrics.features.net import FeatureNet, freeze, stamp_of
from mulligan.metrics.features.pixels import resize, to_grey

WEIGHTS = Path(__file__).parents[1] / "weights" / "digits.safetensors"
SIDE = 28


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class DigitsNet(FeatureNet):
    """White digits on black, grey and 28 x 28; the features are the input of the last, linear layer."""

    has_maps = has_head = True
    dim = 96
    resizing = f"grey, {SIDE}x{SIDE} antialias"
    block = 500

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(1, 32),
            _conv(32, 32, stride=2),  # 14 x 14
            _conv(32, 64),
            _conv(64, 64, stride=2),  # 7 x 7
            _conv(64, 96),
            nn.AvgPool2d(3, stride=2),  # 3 x 3: the position of a stroke distinguishes 6 from 9
            nn.Flatten(),
            nn.Linear(96 * 9, self.dim),
        )
        self.head = nn.Linear(self.dim, 10)
        self.stamp, self.describe = "", "digits: untrained"

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 | 3 | 4, H, W) float in [-1, 1] -> (B, 96)."""
        return self.trunk(resize(to_grey(images), SIDE, "antialias"))

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> (B, 32, 28, 28), (B, 64, 14, 14), (B, 96, 7, 7)."""
        x, maps = resize(to_grey(images), SIDE, "antialias"), []
        for layers in (self.trunk[:1], self.trunk[1:3], self.trunk[3:5]):
            x = layers(x)
            maps.append(x)
        return maps

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 10)."""
        return self.head(self(images))

    def classify(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B,) int64, the most likely digit of each image."""
        return self.logits(images).argmax(1)


class ByChannel(FeatureNet):
    """The digit net's features of every channel, concatenated."""

    dim = 3 * DigitsNet.dim
    resizing = f"each channel, {SIDE}x{SIDE} antialias"
    block = DigitsNet.block // 3

    def __init__(self, net: DigitsNet) -> None:
        super().__init__()
        self.net, self.stamp, self.describe = net, net.stamp, f"each channel by {net.describe}"

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float in [-1, 1] -> (B, C * 96)."""
        return self.net(images.flatten(0, 1)[:, None]).view(len(images), -1)


@features.register(kinds={"image"}, gives={"maps", "head"})
def digits() -> DigitsNet:
    """A classifier of handwritten digits, shipped with Mulligan; for `digits` and similar images."""
    net = DigitsNet()
    with safe_open(WEIGHTS, "pt") as file:
        net.load_state_dict({name: file.get_tensor(name) for name in net.state_dict()})
        facts = json.loads(file.metadata()["facts"])
    freeze(net)
    net.stamp = stamp_of(net)
    correct = f"right on {facts['held_out_accuracy']} of {facts['held_out_images']} held-out digits"
    net.describe = f"digits: small classifier, {correct} ({facts['script']}, seed {facts['seed']})"
    return net


@features.register(kinds={"image"})
def digits_by_channel() -> ByChannel:
    """The digit net for each channel on its own: for `stacked`, whose images hold three digits."""
    return ByChannel(digits())
