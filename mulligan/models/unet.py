"""`unet` and `translator`: from an image to an image, of any size; what is known of it stays as it is.

`unet` halves the picture and comes back up, with what it saw on the way down beside it (Ronneberger 2015, arXiv
1505.04597; as a generator Isola 2017, arXiv 1611.07004). `translator` is a row of residual blocks on a grid a quarter
as fine (Johnson 2016, arXiv 1603.08155; Zhu 2017, arXiv 1703.10593).

Legend: B batch, C image channels, S channels that are shown, H W image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.batch import Shown
from mulligan.core.errors import UserError
from mulligan.core.registry import generators

Norm = Literal["batch", "instance", "none"]
NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": lambda width: nn.InstanceNorm2d(width, affine=True),
    "none": lambda width: nn.Identity(),
}


class Gated(nn.Module):
    """A convolution whose every output is let through as far as a second one says (Yu 2019, arXiv 1806.03589, eq. 3).

    So a layer can tell holes from what is known, and pass only the latter on.
    """

    def __init__(self, inputs: int, outputs: int, **how: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.both = nn.Conv2d(inputs, 2 * outputs, **how)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H', W')."""
        y, gate = self.both(x).split(self.outputs, 1)
        return y * gate.sigmoid()


def finished(raw: Tensor, cond: Tensor, shown: Shown, channels: int, residual: bool, training: bool) -> Tensor:
    """What a network computed (B, C, H, W) made into a picture, by what it was shown (B, S, H, W): float32.

    With `residual` it is what has to change in what was shown, else the picture before a tanh. Where there is a mask,
    what is known comes back bit for bit. A change may lead beyond [-1, 1]: in training it is left there, where it has a
    gradient, and pictures are clamped.
    """
    raw = raw.float()
    if residual:
        base = cond[:, :channels] if shown.channels >= channels else cond[:, :1].expand_as(raw)
        made = base + raw
        made = made if training else made.clamp(-1, 1)
    else:
        made = raw.tanh()
    return torch.where(cond[:, -1:] > 0, made, cond[:, :channels]) if shown.mask else made


def padded_to(x: Tensor, step: int, least: int = 1) -> Tensor:
    """(B, C, H, W) with its borders going on to the right and below, to sides of at least `least` steps, all whole."""
    wanted = [max(least, -(-side // step)) * step for side in x.shape[2:]]
    beyond = (0, wanted[1] - x.shape[3], 0, wanted[0] - x.shape[2])
    return F.pad(x, beyond, mode="replicate") if any(beyond) else x


def initialise(net: nn.Module, std: float) -> None:
    """N(0, std) weights, as Isola 2017 and Zhu 2017 have them; std = 0: torch's own."""
    for module in net.modules():
        if std and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def refuse_odd_sight(family: str, shape: tuple[int, ...], classes: int, shown: Shown | None) -> Shown:
    """What is shown. Raises UserError where that is no image, or the data are none."""
    if len(shape) != 3:
        raise UserError(f"{family} networks make images, not samples of shape {shape}")
    if shown is None or classes:
        raise UserError(f"{family} makes an image from another; give --task, for example --task inpaint")
    return shown


@generators.register("unet")
class UNetGenerator(nn.Module):
    """Down and up again; each level up also gets what the level down saw. Noise, if any, enters at the bottom."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        shown: Shown | None = None,
        *,
        width: PositiveInt = 64,  # channels at the first level, doubled at each
        most: PositiveInt = 512,  # channels at any level
        levels: NonNegativeInt = 0,  # halvings; 0: until the shorter side is 1 to 3 pixels, as published
        kernel: Literal[3, 4] = 4,  # 4: every level is a strided convolution, up as down; 3: and a plain one beside it
        norm: Norm = "batch",
        gated: bool = False,  # gated convolutions on the way down, for holes
        residual: bool = False,  # it makes what has to change in the picture, not the picture
        z: NonNegativeInt = 0,  # noise numbers
        dropout: float = 0.0,  # in the three lowest levels up: the noise of the paper
        heads: NonNegativeInt = 0,  # numbers by which the patch-nce terms tell places apart; 0: no such heads
        apart: bool = False,  # what is made has heads of its own, as it looks otherwise (Han 2021, 2104.07689)
        std: float = 0.02,  # of the initial weights
    ) -> None:
        super().__init__()
        self.shown = refuse_odd_sight("unet", shape, classes, shown)
        self.channels, self.residual, self.z_shape = shape[0], residual, (z,)
        levels = levels or max(1, min(shape[1:]).bit_length() - 1)
        self.step = 2**levels
        widths = [min(most, width * 2**i) for i in range(levels)]
        conv = Gated if gated else nn.Conv2d
        finer = kernel == 3
        self.first = conv(self.shown.channels, width, kernel_size=3, padding=1) if finer else None
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, outputs in enumerate(widths):
            inputs = widths[level - 1] if level else (width if finer else self.shown.channels)
            bare = norm == "none" or level in (0, levels - 1)  # none at the ends, as published: 1x1 has no spread
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level or finer else []
            layers += [conv(inputs, outputs, kernel_size=4, stride=2, padding=1)]
            layers += [] if bare else [NORMS[norm](outputs)]
            if finer:
                layers += [nn.LeakyReLU(0.2), conv(outputs, outputs, kernel_size=3, padding=1)]
            self.down.append(nn.Sequential(*layers))
        self.noise = nn.Linear(z, widths[-1]) if z else None
        for level in reversed(range(levels)):
            below = widths[level] * (1 if level == levels - 1 else 2)
            outputs = widths[level - 1] if level else (width if finer else shape[0])
            layers = [nn.LeakyReLU(0.2) if finer else nn.ReLU()]
            if finer:  # enlarged and smoothed: no checkerboard (Odena 2016)
                layers += [nn.Conv2d(below, outputs, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear")]
            else:
                layers += [nn.ConvTranspose2d(below, outputs, 4, 2, 1)]
            if level:
                layers += [NORMS[norm](outputs)] if norm != "none" else []
                layers += [nn.Dropout(dropout)] if dropout and level >= levels - 3 else []
            self.up.append(nn.Sequential(*layers))
        self.last = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(2 * width, shape[0], 3, padding=1)) if finer else None
        initialise(self, std)
        if residual and self.last is not None:
            for parameter in self.last[1].parameters():
                nn.init.zeros_(parameter)  # at first nothing changes
        self.heads, self.heads_of_made = heads_at(widths, heads, apart)

    def encoded(self, z: Tensor, cond: Tensor) -> list[Tensor]:
        """(B, S, H, W) -> what heads look at: each halving, not the picture, whose colours are what is to change."""
        x = padded_to(cond, self.step)
        x = x if self.first is None else self.first(x)
        seen = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        return seen

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B, S, H, W) in [-1, 1] -> (B, C, H, W) in [-1, 1], for any H and W."""
        assert cond is not None
        height, width = cond.shape[2:]
        x = padded_to(cond, self.step)
        seen: list[Tensor] = []
        if self.first is not None:
            x = self.first(x)
            seen.append(x)
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        x = seen.pop()
        if self.noise is not None:
            x = x + self.noise(z)[:, :, None, None]
        for layer in self.up:
            x = layer(x)
            x = torch.cat([x, seen.pop()], 1) if seen else x
        x = self.last(x) if self.last is not None else x
        return finished(x[:, :, :height, :width], cond, self.shown, self.channels, self.residual, self.training)


class Told(nn.Module):
    """What a place of a layer comes to, in numbers of length 1 (Park 2020, arXiv 2007.15651, sec. 3)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, C) -> (B, P, E)."""
        return F.normalize(self.layers(x), dim=2)


def heads_at(widths: Sequence[int], heads: int, apart: bool) -> tuple[nn.ModuleList | None, nn.ModuleList | None]:
    """Heads for layers so wide, each of so many numbers; and a second set of them where what is made has its own."""

    def told() -> nn.ModuleList:
        return nn.ModuleList(Told(width, heads) for width in widths)

    return told() if heads else None, told() if heads and apart else None


class Residual(nn.Module):
    """Two convolutions, `dilation` apart, added to what they were given."""

    def __init__(self, width: int, norm: Norm, dilation: int) -> None:
        super().__init__()
        far = {"padding": dilation, "dilation": dilation, "padding_mode": "replicate"}
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, **far), NORMS[norm](width), nn.ReLU(),  # type: ignore[arg-type]
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"), NORMS[norm](width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x + self.layers(x)


@generators.register("translator")
class Translator(nn.Module):
    """Two halvings, residual blocks, two doublings."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        shown: Shown | None = None,
        *,
        width: PositiveInt = 64,  # channels at full size; four times as many in the blocks
        blocks: NonNegativeInt = 6,  # 6 for 128x128, 9 for 256x256 and larger, as published
        dilations: tuple[int, ...] = (1,),  # of the blocks, over and over: (1, 2, 4, 8) sees far
        norm: Norm = "instance",
        residual: bool = False,  # it makes what has to change in the picture, not the picture
        z: NonNegativeInt = 0,  # noise numbers, shown everywhere to the first block
        heads: NonNegativeInt = 0,  # numbers by which the patch-nce terms tell places apart; 0: no such heads
        apart: bool = False,  # what is made has heads of its own, as it looks otherwise (Han 2021, 2104.07689)
        std: float = 0.02,  # of the initial weights
    ) -> None:
        super().__init__()
        self.shown = refuse_odd_sight("translator", shape, classes, shown)
        self.channels, self.residual, self.z_shape = shape[0], residual, (z,)
        if not dilations or min(dilations) < 1:
            raise UserError(f"generator.dilations={dilations}: whole numbers from 1 up")
        edge = {"padding": 3, "padding_mode": "replicate"}
        self.down = nn.Sequential(
            nn.Conv2d(self.shown.channels, width, 7, **edge), NORMS[norm](width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), NORMS[norm](2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1), NORMS[norm](4 * width), nn.ReLU(),
        )  # fmt: skip
        self.noise = nn.Linear(z, 4 * width) if z else None
        self.blocks = nn.Sequential(
            *(Residual(4 * width, norm, dilations[index % len(dilations)]) for index in range(blocks))
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1), NORMS[norm](2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), NORMS[norm](width), nn.ReLU(),
            nn.Conv2d(width, shape[0], 7, **edge),
        )  # fmt: skip
        self.step = 4
        initialise(self, std)
        self.looks = sorted({1, (blocks + 1) // 2}) if blocks else []  # blocks after which heads look
        told = (self.shown.channels, 2 * width, 4 * width, *[4 * width] * len(self.looks))
        self.heads, self.heads_of_made = heads_at(told, heads, apart)

    def encoded(self, z: Tensor, cond: Tensor) -> list[Tensor]:
        """(B, S, H, W) -> what heads look at: the image, both halvings, the first block and the middle one (app. C)."""
        x = padded_to(cond, self.step, least=2)
        half, rest = self.down[:6], self.down[6:]
        seen = [x, half(x)]
        seen.append(rest(seen[-1]))
        x = seen[-1] if self.noise is None else seen[-1] + self.noise(z)[:, :, None, None]
        for index, block in enumerate(self.blocks[: max(self.looks, default=0)], 1):
            x = block(x)
            seen += [x] if index in self.looks else []
        return seen

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, z), cond (B, S, H, W) in [-1, 1] -> (B, C, H, W) in [-1, 1], for any H and W."""
        assert cond is not None
        height, width = cond.shape[2:]
        x = self.down(padded_to(cond, self.step, least=2))  # of a single place there is no instance norm
        if self.noise is not None:
            x = x + self.noise(z)[:, :, None, None]
        x = self.up(self.blocks(x))
        return finished(x[:, :, :height, :width], cond, self.shown, self.channels, self.residual, self.training)
