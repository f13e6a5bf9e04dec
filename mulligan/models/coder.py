"""Autoencoders for games in latent space: a small one trained on the user's images, and one read from a folder.

GANs of 2025 are trained on such latents of ImageNet (GAT, arXiv 2509.24935; AFM, 2511.22475; CAT, 2605.26449).

Legend: B batch, C image channels, H W image size, F image side over latent side, L latent channels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.core.seeding import generator_at, mix

NOISE = 0.1  # deviation of the noise on latents in training (theirs is 1), so that nearby latents decode alike
RATE = 3e-3  # with 8e-3, 64x64 faces stayed at their mean (14 dB); with 4e-3 they were restored at 32 dB
MIN_SIDE, MAX_HALVINGS = 16, 3  # the side of latents that further halvings may not go below; halvings at most
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"  # as diffusers saves it
COMPRESSION = {1: 3, 2: 6, 3: 12}  # numbers of an image for each number of its latent, by halvings


class Codec(Protocol):
    """An `nn.Module` that encodes images to latents of any scale, and decodes them."""

    factor: int  # of both sides
    inputs: int  # image channels
    channels: int  # of latents
    describe: str

    def encode(self, images: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...


class Residual(nn.Module):
    """The input, plus two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> the same shape."""
        return x + self.layers(x)


class Coder(nn.Module):
    """Convolutions, none at full resolution: the first halving and the last doubling rearrange 2x2 squares of pixels.

    The encoder ends with batch norm without weights, so that latents have mean 0 and deviation 1.
    """

    def __init__(self, inputs: int, halvings: int, width: int = 32) -> None:
        super().__init__()
        self.inputs, self.factor = inputs, 2**halvings
        self.channels = max(2, round(inputs * self.factor**2 / COMPRESSION[halvings]))
        self.describe = f"self: small autoencoder, {self.factor} times smaller, {self.channels} channels"
        widths = [width * min(2**i, 4) for i in range(halvings)]  # from fine to coarse
        down: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4 * inputs, width, 3, padding=1), Residual(width)]
        up: list[nn.Module] = [Residual(width), nn.SiLU(), nn.Conv2d(width, 4 * inputs, 3, padding=1)]
        up.append(nn.PixelShuffle(2))
        for fine, coarse in pairwise(widths):
            down += [nn.Conv2d(fine, coarse, 4, stride=2, padding=1), Residual(coarse)]
            doubled = [Residual(coarse), nn.Conv2d(coarse, 4 * fine, 3, padding=1), nn.PixelShuffle(2)]
            up = [*doubled, *up]
        last = widths[-1]
        down += [nn.Conv2d(last, self.channels, 3, padding=1), nn.BatchNorm2d(self.channels, affine=False)]
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(nn.Conv2d(self.channels, last, 3, padding=1), *up)

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, L, H / F, W / F)."""
        return self.encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, L, h, w) -> (B, C, F h, F w), in [-1, 1] or a little beyond."""
        return self.decoder(latents)


def halvings_for(height: int, width: int) -> int:
    """How often an image is halved: as long as the shorter side keeps `MIN_SIDE` latents; once at least.

    Raises UserError for sides that cannot be halved.
    """
    if height % 2 or width % 2 or min(height, width) < 8:
        near = "x".join(str(max(8, side + side % 2)) for side in (height, width))
        raise UserError(f"--autoencoder self halves both sides, not possible from {height}x{width}; try --size {near}")
    count = 1
    while count < MAX_HALVINGS and not any(side % 2 ** (count + 1) for side in (height, width)):
        if min(height, width) >> (count + 1) < MIN_SIDE:
            break
        count += 1
    return count


def learnt(
    inputs: int,
    halvings: int,
    sample_batch: Callable[[int], Tensor],
    *,
    steps: int,
    rate: float = RATE,
    device: torch.device | str = "cpu",
) -> Coder:
    """A coder after so many steps of AdamW on mean |error|, with one cycle of the rate. `sample_batch(step)`: images.

    A VAE (Kingma 2013, arXiv 1312.6114) with one width for every posterior; batch norm replaces the loss of the prior.
    The same images give the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix("autoencoder"))
        net = Coder(inputs, halvings)
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        images = sample_batch(step).to(device)
        latents = net.encode(images)
        noise = torch.randn(latents.shape, generator=generator_at("autoencoder", step)).to(device)
        loss = F.l1_loss(net.decode(latents + NOISE * noise), images)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


class Published(nn.Module):
    """An `AutoencoderKL` of diffusers (Rombach 2022, arXiv 2112.10752); latents are the posterior's means."""

    def __init__(self, net: Any, where: str) -> None:
        super().__init__()
        self.net = net
        self.inputs, self.channels = net.config.in_channels, net.config.latent_channels
        self.factor = 2 ** (len(net.config.block_out_channels) - 1)
        self.describe = where

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, L, H / F, W / F), on the scale of this autoencoder."""
        return self.net.encode(images).latent_dist.mode()

    def decode(self, latents: Tensor) -> Tensor:
        """(B, L, h, w) -> (B, C, F h, F w), in [-1, 1] or a little beyond."""
        return self.net.decode(latents).sample


def read_folder(folder: Path) -> Published:
    """Read a folder in which diffusers saved an `AutoencoderKL`; nothing is downloaded. Raises UserError otherwise."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            why = f"has no {name}" if folder.is_dir() else "no such folder"
            raise UserError(
                f"--autoencoder {folder}: {why}; valid: self, or a folder with {CONFIG} and {WEIGHTS} "
                "of an AutoencoderKL"
            )
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        raise UserError(
            f"--autoencoder {folder}: needs diffusers, which is not installed: pip install 'mulligan[latent]'"
        ) from None
    try:
        kind = json.loads((folder / CONFIG).read_text()).get("_class_name")
        if kind != "AutoencoderKL":
            raise UserError(f"--autoencoder {folder}: {CONFIG} is of {kind or 'no known class'}, not an AutoencoderKL")
        net, found = AutoencoderKL.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True,
            torch_dtype=torch.float32,
        )  # fmt: skip
    except UserError:
        raise
    except Exception as error:  # the library's, of any class, about a user's files
        raise UserError(f"--autoencoder {folder}: cannot be read ({' '.join(str(error).split())[:160]})") from None
    if found["missing_keys"]:
        raise UserError(f"--autoencoder {folder}: {WEIGHTS} lacks {len(found['missing_keys'])} of its tensors")
    return Published(net, str(folder))
