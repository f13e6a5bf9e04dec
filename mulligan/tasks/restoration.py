"""Restoration: clean images are corrupted when they are loaded, and the generator learns to restore them.

All randomness comes from the rng that is passed in, which is on the device of the images.

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
GREY = (0.299, 0.587, 0.114)  # weights of R, G, B: ITU-R BT.601, as in Pillow


def _restoration(
    data: Records,
    given: Callable[[Tensor, Tensor | None], Condition],
    corrupt: Callable[[Tensor, Generator], Condition],
    *,
    channels: int | None = None,
    mask: bool = False,
) -> Task:
    """A task whose conditions are made from the real images: images of `channels`, by default as many as those have."""
    own_channels, *space = data.sample.shape
    fields = [Field("image", (channels or own_channels, *space), along=data.sample.axes)]
    fields += [Field("mask", (1, *space), along=data.sample.axes)] if mask else []

    def batch(rows: np.ndarray) -> Batch:
        return Batch(data.records(rows), Condition())

    return Task(ConditionSpec(tuple(fields)), batch, repeating_order(data), corrupt=corrupt, condition_for=given)


def _image_condition(image: Tensor, mask: Tensor | None = None) -> Condition:
    return Condition({"image": image})


def uniform(rng: Generator, count: int, low: float, high: float) -> Tensor:
    """(count,) numbers in [low, high), on the device of the rng."""
    return torch.rand(count, generator=rng, device=rng.device) * (high - low) + low


@tasks.register(kinds={"image"}, gives={"image", "mask"}, recipe="restore")
def inpaint(
    data: Records,
    *,
    masks: Masks = "mixed",  # shape of the holes; mixed: each image gets one of the others
    hole: float = 0.5,  # side of a box, or of what a border leaves, over the side of the image; 0 to 1
    centred: bool = False,  # boxes, and what a border leaves, are in the middle of the image
) -> Task:
    """Fill holes (Pathak 2016, arXiv 1604.07379): G gets the image, which is 0 in the holes, and a mask."""
    if not 0 < hole < 1:
        raise UserError(f"task.hole={hole} must be between 0 and 1")

    def given(x: Tensor, mask: Tensor | None) -> Condition:
        if mask is None:
            raise UserError("the run fills holes: say where they are with --mask MASK, an image that is white there")
        return Condition({"image": x * (1 - mask), "mask": mask})

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        return given(x, draw_masks(x, rng, masks, hole, centred))

    return _restoration(data, given, corrupt, mask=True)


def draw_masks(x: Tensor, rng: Generator, masks: Masks, hole: float, centred: bool = False) -> Tensor:
    """Masks (B, 1, H, W) for images like `x`, 1 in holes. Each has at least one pixel of both."""
    count, _, height, width = x.shape
    y = torch.arange(height, device=x.device)[None, :, None]
    x_ = torch.arange(width, device=x.device)[None, None, :]

    def corner(side: int, inner: int, middle: bool) -> Tensor:
        free = side - inner
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
    if masks != "mixed":
        return draws[masks]()[:, None].float()
    drawn = torch.stack([draw() for draw in draws.values()])  # (4, B, H, W)
    which = uniform(rng, count, 0, len(draws)).long()
    return drawn[which, torch.arange(count, device=x.device)][:, None].float()


def _strokes(count: int, height: int, width: int, rng: Generator, turns: int = 6) -> Tensor:
    """Brush strokes (B, H, W) as in Yu 2019, arXiv 1806.03589: a random walk that turns, drawn with a round brush."""
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
        path = to - at  # (B, 2)
        offset = torch.stack([y, x], -1)[None] - at[:, None, None]  # (B, H, W, 2)
        t = ((offset * path[:, None, None]).sum(-1) / append_dims(path.square().sum(1).clamp(min=1e-6), 3)).clamp(0, 1)
        distance = (offset - t[..., None] * path[:, None, None]).square().sum(-1)  # squared
        painted |= distance <= append_dims(brush.square(), 3)
        at = to
    return painted


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def denoise(
    data: Records,
    *,
    noise: Literal["gaussian", "poisson", "salt"] = "gaussian",  # salt: some pixels are black or white
    least: float = 0.0,  # lowest strength; gaussian: sigma, where white is 1 and black -1
    most: float = 0.5,  # highest; poisson: sigma of white relative to white; salt: share of the pixels
) -> Task:
    """Remove noise of unknown strength (as Zhang 2017, arXiv 1608.03981, trains one net for a range of levels)."""
    if not 0 <= least <= most:
        raise UserError(f"task.least={least} and task.most={most}: the strength needs 0 <= least <= most")

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        strength = append_dims(uniform(rng, len(x), least, most), 4)
        if noise == "salt":
            drawn = torch.rand(x[:, :1].shape, generator=rng, device=x.device)
            return _image_condition(torch.where(drawn < strength, torch.where(drawn < strength / 2, -1.0, 1.0), x))
        if noise == "poisson":  # so many photons that the noise of white has this strength
            photons = strength.clamp(min=1e-3) ** -2
            counted = torch.poisson((x + 1) / 2 * photons, generator=rng)
            return _image_condition(counted.div(photons).mul(2).sub(1).clamp(-1, 1))
        drawn = torch.randn(x.shape, generator=rng, device=x.device)
        return _image_condition((x + strength * drawn).clamp(-1, 1))  # clamped, as in a file

    return _restoration(data, _image_condition, corrupt)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def deblur(
    data: Records,
    *,
    blur: Literal["gaussian", "motion", "mixed"] = "mixed",  # mixed: each image gets one of the two
    least: float = 0.5,  # lowest amount, in pixels: sigma of the Gaussian; half the length of the motion
    most: float = 3.0,  # highest amount, in pixels
) -> Task:
    """Sharpen images that are blurred by an unknown amount: out of focus (Gaussian), or moved (a line at any angle)."""
    if not 0 < least <= most:
        raise UserError(f"task.least={least} and task.most={most}: the blur needs 0 < least <= most, in pixels")

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        amount, angle = uniform(rng, len(x), least, most), uniform(rng, len(x), 0, math.pi)
        kernels = {"gaussian": _gaussian(amount, most), "motion": _line(amount, angle, most)}
        if blur == "mixed":
            first = append_dims(uniform(rng, len(x), 0, 1) < 0.5, 3)
            return _image_condition(_convolved(x, torch.where(first, *kernels.values())))
        return _image_condition(_convolved(x, kernels[blur]))

    return _restoration(data, _image_condition, corrupt)


def _grid(most: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns (k, k), 0 in the middle, of a kernel that is large enough for blurs of up to `most` pixels."""
    reach = torch.arange(-math.ceil(3 * most), math.ceil(3 * most) + 1, device=device, dtype=torch.float32)
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    return y, x


def _gaussian(sigma: Tensor, most: float) -> Tensor:
    """Standard deviations (B,) -> kernels (B, k, k), each with a sum of 1."""
    y, x = _grid(most, sigma.device)
    taps = torch.exp(-0.5 * (y**2 + x**2) / append_dims(sigma.square(), 3))
    return taps / taps.sum((1, 2), keepdim=True)


def _line(half: Tensor, angle: Tensor, most: float) -> Tensor:
    """Lines one pixel thick, of half length `half` (B,), at angles (B,) -> kernels (B, k, k), each with a sum of 1."""
    y, x = _grid(most, half.device)
    along = y * append_dims(angle.sin(), 3) + x * append_dims(angle.cos(), 3)
    across = y * append_dims(angle.cos(), 3) - x * append_dims(angle.sin(), 3)
    taps = (append_dims(half, 3) + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(min=0)
    return taps / taps.sum((1, 2), keepdim=True)


def _convolved(x: Tensor, kernels: Tensor) -> Tensor:
    """Images (B, C, H, W), each convolved with its own kernel of (B, k, k). Borders are replicated."""
    count, channels, height = x.shape[:3]
    reach = kernels.shape[-1] // 2
    padded = F.pad(x, (reach,) * 4, mode="replicate").reshape(1, count * channels, height + 2 * reach, -1)
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    return F.conv2d(padded, weight, groups=count * channels).reshape(x.shape).clamp(-1, 1)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def superres(
    data: Records,
    *,
    scale: Literal[2, 4, 8] = 4,  # factor of both sides
    enlarge: Literal["bicubic", "nearest"] = "bicubic",  # interpolation of the small image to full size, for G
) -> Task:
    """Super-resolution: G gets the image shrunk with antialiasing and enlarged again (Dong 2016, arXiv 1501.00092)."""

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
        return _image_condition(enlarged(to_float(to_uint8(small)))[:, :, :height, :width])  # 8 bits, as in a file

    return _restoration(data, lambda small, mask: _image_condition(enlarged(small)), corrupt)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def colour(data: Records) -> Task:
    """Colourise grey images (Zhang 2016, arXiv 1603.08511)."""
    if data.sample.shape[0] != 3:
        raise UserError(f"--task colour: needs RGB images, and those of {data.name} are not; give --channels 3")

    def given(x: Tensor, mask: Tensor | None = None) -> Condition:
        weights = torch.tensor(GREY, device=x.device).view(1, 3, 1, 1)
        return _image_condition(to_float(to_uint8((x * weights).sum(1, keepdim=True))))

    return _restoration(data, given, lambda x, rng: given(x), channels=1)


@tasks.register(kinds={"image"}, gives={"image"}, recipe="restore")
def jpeg(
    data: Records,
    *,
    least: int = 5,  # lowest quality, 1 to 95
    most: int = 50,  # highest quality, 1 to 95
) -> Task:
    """Remove the artefacts of JPEG at a low, unknown quality. Pillow encodes the images, on the CPU."""
    if data.sample.shape[0] not in (1, 3):
        raise UserError(f"--task jpeg: JPEG stores no transparency, and {data.name} has some; give --channels 3")
    if not 1 <= least <= most <= 95:
        raise UserError(f"task.least={least} and task.most={most}: the quality needs 1 <= least <= most <= 95")

    def corrupt(x: Tensor, rng: Generator) -> Condition:
        qualities = uniform(rng, len(x), least, most + 1).long().clamp(max=most).tolist()
        rows = to_uint8(x).permute(0, 2, 3, 1).cpu().numpy()
        packed = np.stack([_as_jpeg(row, quality) for row, quality in zip(rows, qualities, strict=True)])
        return _image_condition(to_float(torch.from_numpy(packed).permute(0, 3, 1, 2)).to(x.device))

    return _restoration(data, _image_condition, corrupt)


def _as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """uint8 (H, W, C) -> the same, compressed as JPEG of that quality and decoded again."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image).reshape(pixels.shape)
