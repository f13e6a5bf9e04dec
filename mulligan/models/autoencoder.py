"""`autoencoder`: a discriminator whose logit is minus its reconstruction error, and the generator that goes with it.

An energy is low for real samples; here a larger logit always means more real, so the logit is minus the error. The
networks are those of BEGAN (Berthelot 2017, arXiv 1703.10717, fig. 1): 3x3 convolutions with ELU activations.

Legend: B batch, C image channels, H W image size, h w the base grid, E numbers in the code.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.network import Discriminator, Generator
from mulligan.core.registry import discriminators, generators
from mulligan.core.sample import Sample
from mulligan.models.sizes import halvings
from mulligan.nn.resample import enlarge


def _pair(a: int, b: int) -> nn.Sequential:
    """Two convolutions at one resolution."""
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ELU(), nn.Conv2d(b, b, 3, padding=1), nn.ELU())


class Decoder(nn.Module):
    """From E numbers to an image: a dense layer to the base grid, then two convolutions and a doubling, repeated."""

    def __init__(self, shape: tuple[int, ...], width: int, numbers: int) -> None:
        super().__init__()
        count = halvings("autoencoder", shape)
        self.base_grid = (width, shape[1] >> count, shape[2] >> count)
        self.dense = nn.Linear(numbers, torch.Size(self.base_grid).numel())
        self.pairs = nn.ModuleList(_pair(width, width) for _ in range(count + 1))
        self.to_image = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """(B, E) -> (B, C, H, W), in [-1, 1]."""
        x = self.dense(code).unflatten(1, self.base_grid).contiguous(memory_format=torch.channels_last)
        x = self.pairs[0](x)
        for pair in list(self.pairs)[1:]:
            x = pair(enlarge(x, 2))
        return self.to_image(x).tanh()


@generators.register("autoencoder", kinds={"image"}, takes={"class"})
class DecoderGenerator(Generator):
    """The decoder of the discriminator, with its own weights. Its input is noise times the class embedding."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 32,  # channels of every layer
        z: NonNegativeInt = 64,  # noise numbers
    ) -> None:
        super().__init__()
        self.z_shape = (z,)
        self.embed = nn.Embedding(condition.classes, z) if condition.classes else None
        self.decoder = Decoder(sample.shape, width, z)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z), `class` (B,) or none -> (B, C, H, W) in [-1, 1]."""
        return self.decoder(z if self.embed is None else z * self.embed(cond["class"]))


@discriminators.register("autoencoder", kinds={"image"}, takes={"class"})
class AutoencoderDiscriminator(Discriminator):
    """One logit per sample: minus the reconstruction error. It ignores the class."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 32,  # channels at the image's resolution; as many more at every halving
        code: PositiveInt = 64,  # E, numbers in the code
        error: Literal["l1", "l2"] = "l1",  # of the reconstruction, averaged over the numbers of the image
    ) -> None:
        super().__init__()
        channels, height, side = sample.shape
        count = halvings("autoencoder", sample.shape)
        self.from_image = nn.Conv2d(channels, width, 3, padding=1)
        self.pairs = nn.ModuleList(_pair(width * (i + 1), width * (i + 1)) for i in range(count + 1))
        self.downs = nn.ModuleList(
            nn.Conv2d(width * (i + 1), width * (i + 2), 3, stride=2, padding=1) for i in range(count)
        )
        self.dense = nn.Linear(width * (count + 1) * (height >> count) * (side >> count), code)
        self.decoder = Decoder(sample.shape, width, code)
        self.error = F.l1_loss if error == "l1" else F.mse_loss

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        """x (B, C, H, W) -> one logit per sample, (B,); the features are the code (B, E) and the reconstruction."""
        y = self.pairs[0](F.elu(self.from_image(x)))
        for down, pair in zip(self.downs, list(self.pairs)[1:], strict=True):
            y = pair(F.elu(down(y)))
        code = self.dense(y.flatten(1))  # (B, E)
        again = self.decoder(code)
        return Judgement([-self.error(again, x, reduction="none").flatten(1).mean(1)], [code, again])
