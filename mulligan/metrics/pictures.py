"""Metrics of images, uint8 (N, C, H, W): from pixels alone, or from the activations of a feature net."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.registry import features
from mulligan.core.seeding import generator_at
from mulligan.metrics.features.net import FeatureNet

PATCH, PATCHES = 7, 128  # pixels of a patch's side; patches of an image (Karras 2018, sec. 5)
DIRECTIONS = 128  # of projection; 512 in the paper, which is four times the work
SMALLEST = 2 * PATCH  # pixels of the smallest level's side
WINDOW, SIGMA = 11, 1.5  # pixels of SSIM's window and of its Gaussian
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of Wang 2003, fine to coarse
STABLE = (0.01**2, 0.03**2)  # SSIM's constants for stability, as shares of the range squared
BLOCK = 250  # images at once


def sliced_wasserstein(real: Tensor, fake: Tensor, *, seed: int = 0) -> dict[str, float]:
    """SWD by level of a Laplacian pyramid, times 1,000: {"swd_28": ..., "swd_14": ..., "swd": their mean}.

    Karras 2018 (arXiv 1710.10196), sec. 5: 7x7 patches, each channel of a set normalised to mean 0 and deviation 1, and
    the distance of sorted projections on random directions. Levels halve the side down to SMALLEST; the last is the
    low-pass rest. Of the larger set as many are used as the smaller has; all draws depend on `seed` alone.
    """
    count = min(len(real), len(fake))
    side = min(real.shape[2:])
    if count < 2 or side < PATCH:
        raise UserError(
            f"sliced Wasserstein needs 2 images in each set, of at least {PATCH} pixels a side; "
            f"here are {count}, of {side} pixels"
        )
    levels = [_patches(images[:count], seed) for images in (real, fake)]
    found = {}
    for (size, a), (_, b) in zip(*levels, strict=True):
        generator = generator_at("directions", seed, size)
        directions = F.normalize(torch.randn(a.shape[1], DIRECTIONS, generator=generator), dim=0)
        distances = [
            ((some.T @ a.T).sort().values - (some.T @ b.T).sort().values).abs().mean().item()
            for some in directions.split(64, 1)
        ]  # (64, patches): sorted along the axis that is contiguous in memory
        found[f"swd_{size}"] = 1000 * sum(distances) / len(distances)
    return found | {"swd": sum(found.values()) / len(found)}


def _patches(images: Tensor, seed: int) -> list[tuple[int, Tensor]]:
    """For each level its shorter side and normalised patches (N * PATCHES, C * 49)."""
    levels: dict[int, list[Tensor]] = {}
    for number, some in enumerate(images.split(BLOCK)):
        for level in pyramid(to_float(some)):
            size = min(level.shape[2:])
            cut = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1).movedim(1, 3).flatten(1, 2)  # (b, positions, C, 7, 7)
            generator = generator_at("patches", seed, number, size)
            positions = torch.randint(cut.shape[1], (len(some), PATCHES), generator=generator)
            levels.setdefault(size, []).append(cut[torch.arange(len(some))[:, None], positions].flatten(0, 1))
    found = []
    for size, parts in levels.items():
        whole = torch.cat(parts)  # (N * PATCHES, C, 7, 7)
        spread, mean = torch.std_mean(whole, (0, 2, 3), keepdim=True)
        found.append((size, ((whole - mean) / spread.clamp(min=1e-8)).flatten(1)))
    return found


def pyramid(images: Tensor) -> list[Tensor]:
    """Float (N, C, H, W) -> Laplacian levels, fine to coarse (Burt and Adelson 1983); the last is the low-pass rest."""
    levels = []
    while min(images.shape[2:]) >= 2 * SMALLEST:
        small = _smooth(images)[:, :, ::2, ::2]
        spread = torch.zeros_like(images)
        spread[:, :, ::2, ::2] = small
        levels.append(images - 4 * _smooth(spread))
        images = small
    return [*levels, images]


def _smooth(images: Tensor) -> Tensor:
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (line[:, None] * line).expand(images.shape[1], 1, 5, 5).to(images)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """(N,) structural similarity of pairs of at least 11 pixels a side (Wang 2004, eq. 13), 1 for equal images."""
    luminance, structure = _ssim((to_float(a) + 1) / 2, (to_float(b) + 1) / 2)
    return (luminance * structure).mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """(N,) multi-scale structural similarity of pairs (Wang 2003), 1 for equal images.

    Five scales, or as many as have a window of 11 pixels on the coarsest; their exponents are scaled to sum to 1.
    Raises UserError for images smaller than the window.
    """
    side = min(a.shape[2:])
    if side < WINDOW:
        raise UserError(f"MS-SSIM needs images of at least {WINDOW} pixels a side; here {side}")
    count = min(len(SCALES), (side // WINDOW).bit_length())
    exponents = [each / sum(SCALES[:count]) for each in SCALES[:count]]
    x, y = ((to_float(images) + 1) / 2 for images in (a, b))
    found = torch.ones(len(x))
    for scale, exponent in enumerate(exponents):
        luminance, structure = _ssim(x, y)
        last = scale == count - 1
        found *= (luminance * structure if last else structure).mean((1, 2, 3)).clamp(min=0) ** exponent
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return found


def _ssim(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, h, w) of the similarity of luminance, and of that of contrast and structure."""
    offset = torch.arange(WINDOW) - WINDOW // 2
    line = torch.softmax(-(offset**2) / (2 * SIGMA**2), 0)
    kernel = (line[:, None] * line).expand(x.shape[1], 1, -1, -1).to(x)
    means = F.conv2d(torch.cat([x, y, x * x, y * y, x * y]), kernel, groups=x.shape[1]).chunk(5)
    mx, my, xx, yy, xy = means
    luminance = (2 * mx * my + STABLE[0]) / (mx * mx + my * my + STABLE[0])
    structure = (2 * (xy - mx * my) + STABLE[1]) / (xx - mx * mx + yy - my * my + STABLE[1])
    return luminance, structure


def likeness(images: Tensor, *, pairs: int = 1000, seed: int = 0) -> float:
    """Mean MS-SSIM of random pairs (Odena 2017, arXiv 1610.09585): the higher, the less diverse."""
    a, b = _pairs(images, pairs, seed)
    return (
        torch.cat([ms_ssim(images[i], images[j]) for i, j in zip(a.split(BLOCK), b.split(BLOCK), strict=True)])
        .mean()
        .item()
    )


@torch.inference_mode()
def variety(images: Tensor, net: FeatureNet, *, pairs: int = 1000, seed: int = 0) -> float:
    """Mean perceptual distance of random pairs, by the maps of a net."""
    a, b = _pairs(images, pairs, seed)
    distances = [
        perceptual_distance(net, images[i], images[j]) for i, j in zip(a.split(BLOCK), b.split(BLOCK), strict=True)
    ]
    return torch.cat(distances).mean().item()


def perceptual_distance(net: FeatureNet, a: Tensor, b: Tensor) -> Tensor:
    """(N,) distances of pairs by a net's maps, in the manner of LPIPS (Zhang 2018, arXiv 1801.03924).

    Squared differences of maps normalised to unit length along the channels; all layers have the same weight.
    """
    if not net.has_maps:
        others = ", ".join(name for name in features if "maps" in features.declared(name).gives)
        raise UserError(f"this feature net has no maps to compare images by; those with maps: {others}")
    distance = torch.zeros(len(a), device=a.device)
    for one, other in zip(net.maps(to_float(a)), net.maps(to_float(b)), strict=True):
        distance += (F.normalize(one) - F.normalize(other)).square().sum(1).mean((1, 2))
    return distance


def _pairs(images: Tensor, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of random pairs of different images."""
    if len(images) < 2:
        raise UserError(f"similarity is measured on pairs of at least 2 images, and there are {len(images)}")
    generator = generator_at("pairs", seed)
    a = torch.randint(len(images), (pairs,), generator=generator)
    return a, (a + torch.randint(1, len(images), (pairs,), generator=generator)) % len(images)


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of uint8 images (B, C, H, W), in decibels: (B,). 100 for equal images."""
    error = (images.double() - reference.double()).flatten(1).square().mean(1).clamp(min=255**2 * 1e-10)
    return 10 * torch.log10(255**2 / error)
