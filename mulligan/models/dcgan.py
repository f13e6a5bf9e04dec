"""`dcgan`: a dense layer to a small grid, then transposed convolutions; D mirrors it (Radford 2015, arXiv 1511.06434).

The defaults are the network for 28x28 of TensorFlow's DCGAN tutorial: 5x5 kernels, 256-128-64 channels from 7x7, batch
norm and leaky ReLU 0.3 in G; 64-128 channels and dropout 0.3 in D.

Legend: B batch, C image channels, H W image size, h w the base grid, K classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import halvings
from mulligan.nn.code import coded
from mulligan.nn.conv import Conv2d, ConvTranspose2d
from mulligan.nn.dropout import Dropout
from mulligan.nn.head import ClassBy, Head
from mulligan.nn.norm import ConditionalBatchNorm

Norm = Literal["batch", "instance", "layer", "none"]
NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": lambda width: nn.InstanceNorm2d(width, affine=True),
    "layer": lambda width: nn.GroupNorm(1, width),  # over channels and space, as in the critic of Gulrajani 2017
    "none": lambda width: nn.Identity(),
}


def _kernel(kernel: int, stride: int) -> dict[str, int]:
    """Arguments that make a (transposed) convolution change the side by exactly `stride`."""
    return {"kernel_size": kernel, "stride": stride, "padding": (kernel - stride + 1) // 2}


def _initialise(net: nn.Module, std: float) -> None:
    """Weights from N(0, std) as in the paper; std = 0: Glorot's uniform initialisation, the default of Keras."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if std:
                nn.init.normal_(module.weight, std=std)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@generators.register("dcgan", kinds={"image"}, takes={"class"})
class DCGANGenerator(Generator):
    """z, multiplied by the class embedding, through a dense layer and one transposed convolution per doubling."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels before the image; doubled at every halving, twice more at the base
        z: NonNegativeInt = 100,  # noise numbers
        kernel: Literal[4, 5] = 5,  # side of the kernels, in pixels
        norm: Norm = "batch",  # after every layer but the last
        slope: float = 0.3,  # of the leaky ReLU below zero
        std: float = 0.0,  # of the initial weights; 0: Glorot's uniform initialisation
        class_by: Literal["input", "norm"] = "input",  # where the class enters: times the noise, or in every batch norm
        codes: NonNegativeInt = 0,  # the first so many noise numbers only choose one of as many codes
    ) -> None:
        super().__init__()
        count = halvings("dcgan", sample.shape)
        channels, height, side = sample.shape
        classes = condition.classes
        widths = [width * 2**i for i in reversed(range(count))]  # from the base grid up
        self.z_shape = (z,)
        self.base_grid = (height >> count, side >> count, 2 * widths[0])
        if class_by == "norm" and norm != "batch":
            raise UserError(f"class_by=norm is for norm=batch, not norm={norm}")
        self.codes = codes
        self.embed = nn.Embedding(classes, z) if classes and class_by == "input" else None
        act = nn.LeakyReLU(slope, inplace=True)

        def normalise(width: int) -> nn.Module:
            return ConditionalBatchNorm(width, classes) if classes and class_by == "norm" else NORMS[norm](width)

        self.dense = nn.Linear(z, torch.Size(self.base_grid).numel(), bias=False)
        # over every feature at every position, as in the tutorial, and not over channels
        self.dense_norm = nn.Sequential(
            nn.BatchNorm1d(self.dense.out_features) if norm == "batch" else nn.Identity(), act
        )
        odd = kernel % 2
        first = {"kernel_size": kernel - 1 + odd, "padding": (kernel - 1) // 2, "stride": 1}  # 5 for 5, 3 for 4
        layers: list[nn.Module] = [
            ConvTranspose2d(self.base_grid[2], widths[0], bias=False, **first),
            normalise(widths[0]),
            act,
        ]
        for a, b in pairwise(widths):
            layers += [
                ConvTranspose2d(a, b, bias=False, output_padding=odd, **_kernel(kernel, 2)), normalise(b), act,
            ]  # fmt: skip
        layers += [
            ConvTranspose2d(widths[-1], channels, bias=False, output_padding=odd, **_kernel(kernel, 2)),
            nn.Tanh(),
        ]
        self.layers = nn.ModuleList(layers)
        _initialise(self, std)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W) in [-1, 1]."""
        z = coded(z, self.codes) if self.codes else z
        if self.embed is not None:
            z = z * self.embed(cond["class"])  # Odena 2017 (ACGAN), as in Keras's examples
        x = self.dense_norm(self.dense(z)).unflatten(1, self.base_grid)  # (B, h, w, 4 width)
        x = x.permute(0, 3, 1, 2)  # channels last in memory, as convolutions want it
        for layer in self.layers:
            x = layer(x, cond["class"]) if isinstance(layer, ConditionalBatchNorm) else layer(x)
        return x


@discriminators.register("dcgan", kinds={"image"}, takes={"class"})
class DCGANDiscriminator(Discriminator):
    """One strided convolution per halving, then a dense layer, which takes the class."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels after the first convolution; doubled at every further one
        kernel: Literal[4, 5] = 5,  # side of the kernels, in pixels
        norm: Norm = "none",  # after all layers but the first; "batch" is the paper's, but unfit for gradient penalties
        dropout: float = 0.3,  # probability that an activation is dropped, in [0, 1]
        slope: float = 0.3,  # of the leaky ReLU below zero
        std: float = 0.0,  # of the initial weights; 0: Glorot's uniform initialisation
        class_by: ClassBy = "projection",  # how the head uses the class
        codes: NonNegativeInt = 0,  # how many codes D distinguishes, as of the generator
    ) -> None:
        super().__init__()
        count = halvings("dcgan", sample.shape)
        channels, height, side = sample.shape
        widths = [width * 2**i for i in range(count)]
        layers: list[nn.Module] = []
        for index, (a, b) in enumerate(pairwise([channels, *widths])):
            layers += [
                Conv2d(a, b, **_kernel(kernel, 2)),
                NORMS[norm](b) if index else nn.Identity(),  # none after the first (Radford 2015, sec. 3)
                nn.LeakyReLU(slope, inplace=True),
                Dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers)
        features = widths[-1] * (height >> count) * (side >> count)
        self.head = Head(features, condition.classes, class_by, codes)
        _initialise(self, std)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W), `class` (B,) or none -> one logit per sample, (B,)."""
        x = self.layers(x)
        features = x.permute(0, 2, 3, 1).flatten(1)  # in memory order: no copy
        return self.head(features, cond.get("class"), [x])
