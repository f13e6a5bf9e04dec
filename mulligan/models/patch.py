"""`patch`: a discriminator with a logit for every patch of an image, judged together with what G was given.

See Isola 2017, arXiv 1611.07004, sec. 3.2. Where the condition does not belong to the real image of its row, D judges
images alone (Zhu 2017, arXiv 1703.10593, sec. 4).

Legend: B batch, C image channels, S channels of the condition's image and mask together, H W image size.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator
from mulligan.core.registry import discriminators
from mulligan.core.sample import Sample
from mulligan.models.unet import NORMS, Norm, image_and_mask, initialise, input_channels

SMALLEST = 8  # pixels of the shorter side that a head judges, where there are several


class Patches(nn.Module):
    """Strided convolutions, one without stride, and a logit for each patch; the last two have the kernel `last`."""

    def __init__(self, inputs: int, width: int, strides: int, last: int, norm: Norm, spectral: bool) -> None:
        super().__init__()
        wrap = spectral_norm if spectral else (lambda layer: layer)
        self.layers = nn.ModuleList()
        for index in range(strides + 1):
            outputs = min(8, 2**index) * width
            kernel, stride = (4, 2) if index < strides else (last, 1)
            conv = wrap(nn.Conv2d(inputs, outputs, kernel, stride, padding=1))
            norms = [NORMS[norm](outputs)] if index and norm != "none" else []
            self.layers.append(nn.Sequential(conv, *norms, nn.LeakyReLU(0.2)))
            inputs = outputs
        self.logit = wrap(nn.Conv2d(inputs, 1, last, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, C + S, H, W) -> logits (B, h, w), and the activations of every layer."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return self.logit(x).squeeze(1), features


@discriminators.register("patch", kinds={"image"}, needs={"image"}, takes={"mask"})
class PatchDiscriminator(Discriminator):
    """One head, or one for each of several scales, each half as fine as the last (Wang 2018, 1711.11585, sec. 3.2)."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels after the first convolution, doubled at each, at most 8 times as many
        strides: PositiveInt = 3,  # convolutions of stride 2: 3 for patches of 54x54 pixels, 2 for 26x26, 1 for 12x12
        last: Literal[3, 4] = 3,  # kernel of the two layers without stride; 4: patches of 70x70, 34x34, 16x16
        norm: Norm = "batch",  # of activations: batch, instance, or none
        spectral: bool = False,  # spectral norm on every convolution
        scales: PositiveInt = 1,  # heads, each on an image of half the size of the one before
    ) -> None:
        super().__init__()
        channels, *size = sample.shape
        side = min(size) >> (scales - 1)  # of the coarsest head's image
        least = 2 * last - 5  # positions of its grid, for one logit: a kernel of 4 takes one away
        if side >> strides < least or (side < SMALLEST and scales > 1):
            raise UserError(
                f"patch: {size[0]}x{size[1]} is too small for strides={strides}, last={last} and scales={scales}; "
                "set one of them lower (as discriminator.strides=2), or train on larger images with --size"
            )
        self.unconditional = not condition.paired
        inputs = channels + (0 if self.unconditional else input_channels(condition))
        self.heads = nn.ModuleList(Patches(inputs, width, strides, last, norm, spectral) for _ in range(scales))
        initialise(self, 0.0 if spectral else 0.02)

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W) -> as many logits as there are scales, each (B, h, w)."""
        both = x if self.unconditional else torch.cat([x, image_and_mask(cond).to(x.dtype)], 1)
        logits, features = [], []
        for index, head in enumerate(self.heads):
            both = F.avg_pool2d(both, 2, ceil_mode=True) if index else both
            logit, activations = head(both)
            logits.append(logit)
            features += activations
        return Judgement(logits, features)
