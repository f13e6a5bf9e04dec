"""Restoring images: clean ones are corrupted on the fly, and the generator learns to undo it.

Everything random comes from the rng that is handed in, on the device of the images.

Legend: B batch, C channels, H W image size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from mulligan.core.batch import Batch, append_dims, to_float, to_uint8
from mulligan.core.condition import Condition, ConditionSpec, Field
from mulligan.core.errors import UserError
from mulligan.core.registry import tasks
from mulligan.tasks.generation import Records, Task, repeating_order

Masks = Literal["boxes", "strokes", "border", "half", "mixed"]
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow has it


def _restoring(
    data: Records,
    see: Callable[[Tensor, Tensor | None], Condition],
    corrupt: Callable[[Tensor, Generator], Condition],
    *,
    channels: int | None = None,
    mask: bool = False,
) -> Task:
    """A task whose conditions are made from the real images; those have `channels`, by default as many as they."""
    kept, *space = data.sample.shape
    fields = [Field("image", (channels or kept, *space), along=data.sample.axes)]
    fields += [Field("mask", (1, *space), along=data.sample.axes)] if mask else []

    def batch(rows: np.ndarray) -> Batch:
        return Batch(data.records(rows), Condition())

    return Task(ConditionSpec(tuple(fields)), batch, repeating_order(data), corrupt=corrupt, condition_for=see)


def _image(image: Tensor, mask: Tensor | None = None) -> Condition:
    return Condition({"image": image})


def uniform(rng: Generator, count: int, low: float, high: float) -> Tensor:
    """(count,) in [low, high), on the device of the rng."""
    return torch.rand(count, generator=rng, device=rng.device) * (high - low) + low


@tasks.register(kinds={"image"}, gives={"image", "mask"}, recipe="restore")
def inpaint(
    data: Records,
    *,
    masks: Masks = "mixed",  # mixed: each picture gets one of the others
    hole: float = 0.5,  # side of a square hole, and what is left inside a border, over that of the picture
    centred: bool = False,  # boxes lie in the middle, and so does what is left inside a border
) -> Task:
    """Fill in what is missing (Pathak 2016, arXiv 1604.07379): G gets the picture, 0 in holes, and a mask."""
    if not 0 < hole < 1:
        raise UserError(f"task.hole={hole} must lie between 0 and 1")

    def see(x: Tensor, mask: Tensor | None) -> Condition:
        if mask is None:
            raise UserError("the run fills holes: say where they are with --mask MASK, an image that is white in them")
        return Condition({"image": x * (1 - mask), "mask": mask})

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        return see(x, draw_masks(x, rng, masks, hole, centred))

    return _restoring(data, see, corrupt, mask=True)


def draw_masks(x: Tensor, rng: Generator, kind: Masks, hole: float, centred: bool = False) -> Tensor:
    """Masks (B, 1, H, W) for images like `x`, 1 in holes; every one has a hole and something known."""
    count, _, height, width = x.shape
    y = torch.arange(height, device=x.device)[None, :, None]
    x_ = torch.arange(width, device=x.device)[None, None, :]

    def corner(sides: int, inner: int, middle: bool) -> Tensor:
        free = sides - inner
        drawn = torch.full((count,), free // 2, device=x.device) if middle else (
            uniform(rng, count, 0, free + 1).long().clamp(max=free))  # fmt: skip
        return drawn[:, None, None]

    def box(middle: bool) -> Tensor:
        h, w = (min(side - 1, max(1, round(hole * side))) or 1 for side in (height, width))
        top, left = corner(height, h, middle), corner(width, w, middle)
        return (y >= top) & (y < top + h) & (x_ >= left) & (x_ < left + w)

    def half() -> Tensor:
        which = append_dims(uniform(rng, count, 0, 4).long(), 3)
        sides = [y < height // 2, y >= (height + 1) // 2, x_ < width // 2, x_ >= (width + 1) // 2]
        whole = torch.stack([side.expand(1, height, width)[0] for side in sides])
        return whole[which[:, 0, 0]]

    def strokes() -> Tensor:
        return _strokes(count, height, width, rng)

    draws = {"boxes": lambda: box(centred), "strokes": strokes, "border": lambda: ~box(centred), "half": half}
    if kind != "mixed":
        return draws[kind]()[:, None].float()
    every = torch.stack([draw() for draw in draws.values()])  # (4, B, H, W)
    which = uniform(rng, count, 0, len(draws)).long()
    return every[which, torch.arange(count, device=x.device)][:, None].float()


def _strokes(count: int, height: int, width: int, rng: Generator, turns: int = 6) -> Tensor:
    """Brush strokes (B, H, W), as Yu 2019 (arXiv 1806.03589) has them: a walk that turns, with a round brush."""
    side = min(height, width)
    size = torch.tensor([height, width], device=rng.device)
    at = torch.rand(count, 2, generator=rng, device=rng.device) * (size - 1)
    heading = uniform(rng, count, 0, 2 * math.pi)
    brush = uniform(rng, count, 0.04, 0.10) * side + 0.5
    y, x = torch.meshgrid(*(torch.arange(n, device=rng.device) for n in (height, width)), indexing="ij")
    painted = torch.zeros(count, height, width, dtype=torch.bool, device=rng.device)
    for _ in range(turns):
        heading = heading + uniform(rng, count, -1.2, 1.2)
        step = torch.stack([heading.sin(), heading.cos()], 1) * (uniform(rng, count, 0.1, 0.35) * side)[:, None]
        to = torch.minimum((at + step).clamp(min=0), size - 1)
        way = to - at  # (B, 2)
        offset = torch.stack([y, x], -1)[None] - at[:, None, None]  # (B, H, W, 2)
        t = ((offset * way[:, None, None]).sum(-1) / append_dims(way.square().sum(1).clamp(min=1e-6), 3)).clamp(0, 1)
        apart = (offset - t[..., None] * way[:, None, None]).square().sum(-1)
        painted |= apart <= append_dims(brush.square(), 3)
        at = to
    return painted


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def denoise(
    data: Records,
    *,
    noise: Literal["gaussian", "poisson", "salt"] = "gaussian",  # salt: and pepper
    least: float = 0.0,  # strength, unknown to G; gaussian: sigma, where white is 1 and black -1
    most: float = 0.5,  # poisson: noise of white relative to it; salt: share of the pixels
) -> Task:
    """Take noise of unknown strength away (Zhang 2017, arXiv 1608.03981, trains a net for a range of levels)."""
    if not 0 <= least <= most:
        raise UserError(f"task.least={least} and task.most={most}: the strength lies between them, from 0 up")

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        strength = append_dims(uniform(rng, len(x), least, most), 4)
        if noise == "salt":
            drawn = torch.rand(x[:, :1].shape, generator=rng, device=x.device)
            return _image(torch.where(drawn < strength, torch.where(drawn < strength / 2, -1.0, 1.0), x))
        if noise == "poisson":  # counts of as many photons that white is uncertain by just so much
            photons = strength.clamp(min=1e-3) ** -2
            counted = torch.poisson((x + 1) / 2 * photons, generator=rng)
            return _image(counted.div(photons).mul(2).sub(1).clamp(-1, 1))
        drawn = torch.randn(x.shape, generator=rng, device=x.device)
        return _image((x + strength * drawn).clamp(-1, 1))  # as a file can hold it

    return _restoring(data, _image, corrupt)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def deblur(
    data: Records,
    *,
    blur: Literal["gaussian", "motion", "mixed"] = "mixed",  # mixed: each picture gets one of the two
    least: float = 0.5,  # pixels: sigma of the Gaussian; half the length of the motion
    most: float = 3.0,  # pixels, the same
) -> Task:
    """Sharpen what was out of focus (a Gaussian) or moved (a line at any angle), by an unknown amount."""
    if not 0 < least <= most:
        raise UserError(f"task.least={least} and task.most={most}: pixels, above 0")

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        amount, angle = uniform(rng, len(x), least, most), uniform(rng, len(x), 0, math.pi)
        kernels = {"gaussian": _gaussian(amount, most), "motion": _line(amount, angle, most)}
        if blur == "mixed":
            heads = append_dims(uniform(rng, len(x), 0, 1) < 0.5, 3)
            return _image(_convolved(x, torch.where(heads, *kernels.values())))
        return _image(_convolved(x, kernels[blur]))

    return _restoring(data, _image, corrupt)


def _grid(most: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns (k, k), 0 in the middle, of a kernel that holds blurs of up to `most` pixels."""
    reach = torch.arange(-math.ceil(3 * most), math.ceil(3 * most) + 1, device=device, dtype=torch.float32)
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    return y, x


def _gaussian(sigma: Tensor, most: float) -> Tensor:
    """(B,) -> (B, k, k), each with a sum of 1."""
    y, x = _grid(most, sigma.device)
    taps = torch.exp(-0.5 * (y**2 + x**2) / append_dims(sigma.square(), 3))
    return taps / taps.sum((1, 2), keepdim=True)


def _line(half: Tensor, angle: Tensor, most: float) -> Tensor:
    """Lines one pixel thick, `half` (B,) long to either side, at angles (B,) -> (B, k, k), each with a sum of 1."""
    y, x = _grid(most, half.device)
    along = y * append_dims(angle.sin(), 3) + x * append_dims(angle.cos(), 3)
    across = y * append_dims(angle.cos(), 3) - x * append_dims(angle.sin(), 3)
    taps = (append_dims(half, 3) + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(min=0)
    return taps / taps.sum((1, 2), keepdim=True)


def _convolved(x: Tensor, kernels: Tensor) -> Tensor:
    """(B, C, H, W) under kernels (B, k, k), each its own; beyond an image its border goes on."""
    count, channels, height = x.shape[:3]
    reach = kernels.shape[-1] // 2
    padded = F.pad(x, (reach,) * 4, mode="replicate").reshape(1, count * channels, height + 2 * reach, -1)
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    return F.conv2d(padded, weight, groups=count * channels).reshape(x.shape).clamp(-1, 1)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def superres(
    data: Records,
    *,
    scale: Literal[2, 4, 8] = 4,  # how many times larger
    enlarge: Literal["bicubic", "nearest"] = "bicubic",  # how the small picture is brought to full size for G
) -> Task:
    """Enlarge: G gets the picture made small with antialiasing, brought back to size (Dong 2016, 1501.00092)."""

    def enlarged(small: Tensor) -> Tensor:
        large = (small.shape[2] * scale, small.shape[3] * scale)
        if enlarge == "nearest":
            return F.interpolate(small, size=large, mode="nearest")
        return F.interpolate(small, size=large, mode="bicubic", align_corners=False).clamp(-1, 1)

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        height, width = x.shape[2:]
        if min(height, width) < scale:
            raise UserError(f"--task superres: {height}x{width} is too small for task.scale={scale}")
        beyond = (0, -width % scale, 0, -height % scale)
        whole = F.pad(x, beyond, mode="replicate") if any(beyond) else x
        small_size = (whole.shape[2] // scale, whole.shape[3] // scale)
        small = F.interpolate(whole, size=small_size, mode="bicubic", antialias=True, align_corners=False)
        return _image(enlarged(to_float(to_uint8(small)))[:, :, :height, :width])  # 8 bits, as in a file

    return _restoring(data, lambda small, mask: _image(enlarged(small)), corrupt)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def colour(data: Records) -> Task:
    """Give a grey picture its colours (Zhang 2016, arXiv 1603.08511)."""
    if data.sample.shape[0] != 3:
        raise UserError(f"--task colour: {data.name} has no colours to learn from; it needs RGB images (--channels 3)")

    def see(x: Tensor, mask: Tensor | None = None) -> Condition:
        weights = torch.tensor(GREY, device=x.device).view(1, 3, 1, 1)
        return _image(to_float(to_uint8((x * weights).sum(1, keepdim=True))))

    return _restoring(data, see, lambda x, rng: see(x), channels=1)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def jpeg(
    data: Records,
    *,
    least: int = 5,  # quality, unknown to G: 1 to 95
    most: int = 50,  # quality, 1 to 95
) -> Task:
    """Undo what JPEG did at a low quality. Pillow encodes, on the CPU."""
    if data.sample.shape[0] not in (1, 3):
        raise UserError(f"--task jpeg: {data.name} is transparent, which JPEG cannot keep; give --channels 3")
    if not 1 <= least <= most <= 95:
        raise UserError(f"task.least={least} and task.most={most}: qualities of JPEG, 1 to 95")

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        qualities = uniform(rng, len(x), least, most + 1).long().clamp(max=most).tolist()
        rows = to_uint8(x).permute(0, 2, 3, 1).cpu().numpy()
        packed = np.stack([_as_jpeg(row, quality) for row, quality in zip(rows, qualities, strict=True)])
        return _image(to_float(torch.from_numpy(packed).permute(0, 3, 1, 2)).to(x.device))

    return _restoring(data, _image, corrupt)


def _as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """uint8 (H, W, C) -> the same after a JPEG of that quality."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image).reshape(pixels.shape)
