"""`patch`: D judges every patch of a picture beside what G was shown of it (Isola 2017, arXiv 1611.07004, sec. 3.2).

Where what is shown goes with no real picture, it judges pictures alone (Zhu 2017, arXiv 1703.10593, sec. 4).

Legend: B batch, C image channels, S channels that are shown, H W image size.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mulligan.core.batch import Judgement, Shown
from mulligan.core.errors import UserError
from mulligan.core.registry import discriminators
from mulligan.models.unet import NORMS, Norm, initialise, refuse_odd_sight

SMALLEST = 8  # pixels of a side that anything is judged at


class Patches(nn.Module):
    """Strided convolutions, one that is not, and a logit a patch. `last` is the kernel of what is not strided."""

    def __init__(self, inputs: int, width: int, strides: int, last: int, norm: Norm, spectral: bool) -> None:
        super().__init__()
        kept = spectral_norm if spectral else (lambda layer: layer)
        self.layers = nn.ModuleList()
        for index in range(strides + 1):
            outputs = min(8, 2**index) * width
            kernel, stride = (4, 2) if index < strides else (last, 1)
            conv = kept(nn.Conv2d(inputs, outputs, kernel, stride, padding=1))
            normed = [NORMS[norm](outputs)] if index and norm != "none" else []
            self.layers.append(nn.Sequential(conv, *normed, nn.LeakyReLU(0.2)))
            inputs = outputs
        self.logit = kept(nn.Conv2d(inputs, 1, last, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, C + S, H, W) -> logits (B, h, w), and what was seen on the way."""
        seen = []
        for layer in self.layers:
            x = layer(x)
            seen.append(x)
        return self.logit(x).squeeze(1), seen


@discriminators.register("patch")
class PatchDiscriminator(nn.Module):
    """One head, or one at each of several scales, every one half as fine (Wang 2018, arXiv 1711.11585, sec. 3.2)."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        shown: Shown | None = None,
        *,
        width: PositiveInt = 64,  # channels after the first convolution, doubled at each, at most 8 times as many
        strides: PositiveInt = 3,  # 3: patches of 54x54 pixels; 2: of 26x26; 1: of 12x12
        last: Literal[3, 4] = 3,  # kernel of the two layers without stride; 4: patches of 70x70, 34x34, 16x16
        norm: Norm = "batch",
        spectral: bool = False,  # spectral norm on every convolution
        scales: PositiveInt = 1,  # heads
    ) -> None:
        super().__init__()
        told = refuse_odd_sight("patch", shape, classes, shown)
        side = min(shape[1:]) >> (scales - 1)  # of the coarsest head's picture
        least = 2 * last - 5  # places of its grid, for one logit: a kernel of 4 takes one away
        if side >> strides < least or (side < SMALLEST and scales > 1):
            raise UserError(
                f"patch: {shape[1]}x{shape[2]} is too small for strides={strides}, last={last} and scales={scales}; "
                "set one of them lower (as discriminator.strides=2), or train on larger images with --size"
            )
        self.alone = told.unpaired
        self.heads = nn.ModuleList(
            Patches(shape[0] + (0 if self.alone else told.channels), width, strides, last, norm, spectral)
            for _ in range(scales)
        )
        initialise(self, 0.0 if spectral else 0.02)

    def forward(self, x: Tensor, cond: Tensor | None) -> Judgement:
        """x (B, C, H, W), cond (B, S, H, W) -> as many logits as there are scales, each (B, h, w)."""
        assert cond is not None
        both = x if self.alone else torch.cat([x, cond.to(x.dtype)], 1)
        logits, features = [], []
        for index, head in enumerate(self.heads):
            both = F.avg_pool2d(both, 2, ceil_mode=True) if index else both
            logit, seen = head(both)
            logits.append(logit)
            features += seen
        return Judgement(logits, features)
