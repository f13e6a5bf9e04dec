"""`unet` and `translator`: from an image to an image of any size. Known pixels stay as they are.

`unet` halves the image level by level and comes back up, where each level also gets the features of the same level on
the way down (Ronneberger 2015, arXiv 1505.04597; as a generator Isola 2017, arXiv 1611.07004). `translator` is a row of
residual blocks at a quarter of the resolution (Johnson 2016, arXiv 1603.08155; Zhu 2017, arXiv 1703.10593).

Legend: B batch, C channels of the result, S channels of the condition's image and mask together, H W image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.condition import Condition, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Generator
from mulligan.core.registry import generators
from mulligan.core.sample import Sample

Norm = Literal["batch", "instance", "none"]
NORMS = {
    "batch": nn.BatchNorm2d,
    "instance": lambda width: nn.InstanceNorm2d(width, affine=True),
    "none": lambda width: nn.Identity(),
}


def input_channels(condition: ConditionSpec) -> int:
    """Channels of the condition's image, and of its mask where there is one."""
    return sum(condition[name].shape[0] for name in ("image", "mask") if name in condition)


def image_and_mask(cond: Condition) -> Tensor:
    """(B, S, H, W): the image, and after it the mask where there is one."""
    return torch.cat([cond["image"], cond["mask"]], 1) if "mask" in cond else cond["image"]


class Gated(nn.Module):
    """A convolution times the sigmoid of a second one (Yu 2019, arXiv 1806.03589, eq. 3).

    So a layer can tell holes from known pixels, and pass on only the latter.
    """

    def __init__(self, inputs: int, outputs: int, **options: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.both = nn.Conv2d(inputs, 2 * outputs, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        y, gate = self.both(x).split(self.outputs, 1)
        return y * gate.sigmoid()


def finished(raw: Tensor, cond: Condition, channels: int, residual: bool, training: bool) -> Tensor:
    """A network's raw output (B, C, H, W), made into an image of `channels` channels: float32.

    With `residual` the output is added to the condition's image; otherwise it goes through tanh. Where there is a mask,
    known pixels are copied bit for bit. A sum may lie beyond [-1, 1]: in training it stays there, where it has a
    gradient; otherwise it is clamped.
    """
    raw, image = raw.float(), cond["image"]
    if residual:
        base = image[:, :channels] if image.shape[1] >= channels else image[:, :1].expand_as(raw)
        made = base + raw
        made = made if training else made.clamp(-1, 1)
    else:
        made = raw.tanh()
    return torch.where(cond["mask"] > 0, made, image[:, :channels]) if "mask" in cond else made


def padded_to(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """(B, C, H, W), with its right and lower border repeated until each side is `least` or more times `multiple`."""
    wanted = [max(least, -(-side // multiple)) * multiple for side in x.shape[2:]]
    missing = (0, wanted[1] - x.shape[3], 0, wanted[0] - x.shape[2])
    return F.pad(x, missing, mode="replicate") if any(missing) else x


def initialise(net: nn.Module, std: float) -> None:
    """N(0, std) weights, as in Isola 2017 and Zhu 2017; std = 0 keeps torch's own."""
    for module in net.modules():
        if std and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class PatchEmbedding(nn.Module):
    """Features at each position to a vector of length 1 (Park 2020, arXiv 2007.15651, sec. 3)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, inputs) -> (B, P, outputs)."""
        return F.normalize(self.layers(x), dim=2)


def embeddings_of(widths: Sequence[int], numbers: int, own: bool) -> tuple[nn.ModuleList | None, nn.ModuleList | None]:
    """A `PatchEmbedding` for each layer of so many channels; with `own`, a second set for generated images."""

    def heads() -> nn.ModuleList:
        return nn.ModuleList(PatchEmbedding(width, numbers) for width in widths)

    return heads() if numbers else None, heads() if numbers and own else None


@generators.register("unet", kinds={"image"}, needs={"image"}, takes={"mask"})
class UNetGenerator(Generator):
    """Down and up again, with skip connections. Noise, if any, is added at the lowest level."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels at the first level, doubled at each
        most: PositiveInt = 512,  # channels at any level
        levels: NonNegativeInt = 0,  # halvings; 0: until the shorter side is 1 to 3 pixels, as published
        kernel: Literal[3, 4] = 4,  # 4: one strided convolution a level, down and up; 3: a plain one after each, too
        norm: Norm = "batch",  # of activations: batch, instance, or none
        gated: bool = False,  # gated convolutions on the way down, for holes
        residual: bool = False,  # the output is added to the given image instead of replacing it
        z: NonNegativeInt = 0,  # noise numbers
        dropout: float = 0.0,  # chance that an activation of the three lowest levels up is dropped: the paper's noise
        heads: NonNegativeInt = 0,  # numbers of a patch's embedding, for the patch-nce terms; 0: no embeddings
        own_heads: bool = False,  # generated images have embeddings of their own (Han 2021, arXiv 2104.07689)
        std: float = 0.02,  # standard deviation of the initial weights; 0: torch's own weights
    ) -> None:
        super().__init__()
        inputs_all, outputs_all = input_channels(condition), sample.shape[0]
        self.channels, self.residual, self.z_shape = outputs_all, residual, (z,)
        levels = levels or max(1, min(sample.shape[1:]).bit_length() - 1)
        self.grid = 2**levels
        widths = [min(most, width * 2**i) for i in range(levels)]
        conv = Gated if gated else nn.Conv2d
        finer = kernel == 3
        self.first = conv(inputs_all, width, kernel_size=3, padding=1) if finer else None
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, outputs in enumerate(widths):
            inputs = widths[level - 1] if level else (width if finer else inputs_all)
            bare = norm == "none" or level in (0, levels - 1)  # no norm at the ends, as published: 1x1 has no variance
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level or finer else []
            layers += [conv(inputs, outputs, kernel_size=4, stride=2, padding=1)]
            layers += [] if bare else [NORMS[norm](outputs)]
            if finer:
                layers += [nn.LeakyReLU(0.2), conv(outputs, outputs, kernel_size=3, padding=1)]
            self.down.append(nn.Sequential(*layers))
        self.noise = nn.Linear(z, widths[-1]) if z else None
        for level in reversed(range(levels)):
            inputs = widths[level] * (1 if level == levels - 1 else 2)
            outputs = widths[level - 1] if level else (width if finer else outputs_all)
            layers = [nn.LeakyReLU(0.2) if finer else nn.ReLU()]
            if finer:  # interpolation in place of a transposed convolution: no checkerboard (Odena 2016)
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear")]
            else:
                layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]
            if level:
                layers += [NORMS[norm](outputs)] if norm != "none" else []
                layers += [nn.Dropout(dropout)] if dropout and level >= levels - 3 else []
            self.up.append(nn.Sequential(*layers))
        self.last = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(2 * width, outputs_all, 3, padding=1)) if finer else None
        initialise(self, std)
        if residual and self.last is not None:
            for parameter in self.last[1].parameters():
                nn.init.zeros_(parameter)  # at first the given image is returned unchanged
        self.heads, self.heads_of_made = embeddings_of(widths, heads, own_heads)
        self.has_heads = heads > 0

    def encoded(self, z: Tensor, cond: Condition) -> list[Tensor]:
        """Features that heads embed: after each halving. Not the image itself, whose colours are to change."""
        x = padded_to(image_and_mask(cond), self.grid)
        x = x if self.first is None else self.first(x)
        features = []
        for layer in self.down:
            x = layer(x)
            features.append(x)
        return features

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z); an image (B, ., H, W) in [-1, 1] for any H and W -> (B, C, H, W) in [-1, 1]."""
        given = image_and_mask(cond)
        height, width = given.shape[2:]
        x = padded_to(given, self.grid)
        skips: list[Tensor] = []
        if self.first is not None:
            x = self.first(x)
            skips.append(x)
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        x = skips.pop()
        if self.noise is not None:
            x = x + self.noise(z)[:, :, None, None]
        for layer in self.up:
            x = layer(x)
            x = torch.cat([x, skips.pop()], 1) if skips else x
        x = self.last(x) if self.last is not None else x
        return finished(x[:, :, :height, :width], cond, self.channels, self.residual, self.training)


class Residual(nn.Module):
    """The input, plus two convolutions of it, the first one with a dilation."""

    def __init__(self, width: int, norm: Norm, dilation: int) -> None:
        super().__init__()
        dilated = {"padding": dilation, "dilation": dilation, "padding_mode": "replicate"}
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, **dilated), NORMS[norm](width), nn.ReLU(),  # type: ignore[arg-type]
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"), NORMS[norm](width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same shape."""
        return x + self.layers(x)


@generators.register("translator", kinds={"image"}, needs={"image"}, takes={"mask"})
class Translator(Generator):
    """Two halvings, residual blocks, two doublings."""

    def __init__(
        self,
        sample: Sample,
        condition: ConditionSpec,
        *,
        width: PositiveInt = 64,  # channels at full size; four times as many in the blocks
        blocks: NonNegativeInt = 6,  # residual blocks: 6 for 128x128, 9 for 256x256 and larger, as published
        dilations: tuple[int, ...] = (1,),  # dilation of each block in turn; (1, 2, 4, 8) widens the receptive field
        norm: Norm = "instance",  # of activations: batch, instance, or none
        residual: bool = False,  # the output is added to the given image instead of replacing it
        z: NonNegativeInt = 0,  # noise numbers, added at every position before the first block
        heads: NonNegativeInt = 0,  # numbers of a patch's embedding, for the patch-nce terms; 0: no embeddings
        own_heads: bool = False,  # generated images have embeddings of their own (Han 2021, arXiv 2104.07689)
        std: float = 0.02,  # standard deviation of the initial weights; 0: torch's own weights
    ) -> None:
        super().__init__()
        inputs, outputs = input_channels(condition), sample.shape[0]
        self.channels, self.residual, self.z_shape = outputs, residual, (z,)
        if not dilations or min(dilations) < 1:
            raise UserError(f"generator.dilations={dilations}: whole numbers from 1 up")
        edge = {"padding": 3, "padding_mode": "replicate"}
        self.down = nn.Sequential(
            nn.Conv2d(inputs, width, 7, **edge), NORMS[norm](width), nn.ReLU(),
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
            nn.Conv2d(width, outputs, 7, **edge),
        )  # fmt: skip
        self.grid = 4
        initialise(self, std)
        self.embedded_blocks = sorted({1, (blocks + 1) // 2}) if blocks else []  # counted from 1
        widths = (inputs, 2 * width, 4 * width, *[4 * width] * len(self.embedded_blocks))
        self.heads, self.heads_of_made = embeddings_of(widths, heads, own_heads)
        self.has_heads = heads > 0

    def encoded(self, z: Tensor, cond: Condition) -> list[Tensor]:
        """Features that heads embed: the image, both halvings, the first and the middle block (Park 2020, app. C)."""
        x = padded_to(image_and_mask(cond), self.grid, least=2)
        half, rest = self.down[:6], self.down[6:]
        features = [x, half(x)]
        features.append(rest(features[-1]))
        x = features[-1] if self.noise is None else features[-1] + self.noise(z)[:, :, None, None]
        for index, block in enumerate(self.blocks[: max(self.embedded_blocks, default=0)], 1):
            x = block(x)
            features += [x] if index in self.embedded_blocks else []
        return features

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, z); an image (B, ., H, W) in [-1, 1] for any H and W -> (B, C, H, W) in [-1, 1]."""
        given = image_and_mask(cond)
        height, width = given.shape[2:]
        x = self.down(padded_to(given, self.grid, least=2))  # instance norm needs more than one position
        if self.noise is not None:
            x = x + self.noise(z)[:, :, None, None]
        x = self.up(self.blocks(x))
        return finished(x[:, :, :height, :width], cond, self.channels, self.residual, self.training)
