"""Autoencoders to play a game behind: a small one that learns from the user's images, and one read from a folder.

Latents are where GANs of 2025 play on ImageNet (GAT, arXiv 2509.24935; AFM, arXiv 2511.22475; CAT, arXiv 2605.26449).

Legend: B batch, C image channels, H W image size, F by how much a side is smaller in latents, L latent channels.
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

NOISE = 0.1  # added to latents while learning, whose deviation is 1, so that what lies near one is its picture, too
RATE = 3e-3  # 8e-3 left 64x64 faces at their mean (14 dB), 4e-3 brought them back at 32
FEWEST, MOST = 16, 3  # latents of a side as a rule, at least; halvings
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"  # as diffusers saves it
PACKED = {1: 3, 2: 6, 3: 12}  # how many numbers of an image become one, by halvings


class Codec(Protocol):
    """An `nn.Module` that takes images to latents of any scale, and back."""

    factor: int  # of both sides
    inputs: int  # image channels
    channels: int  # of latents
    describe: str

    def encode(self, images: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...


class Residual(nn.Module):
    """Two convolutions beside which their input goes by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> the same shape."""
        return x + self.layers(x)


class Coder(nn.Module):
    """Convolutions, none at full resolution: the first halving and the last doubling are by 2x2 squares of pixels.

    Batch norm without weights ends the encoder, so that latents have mean 0 and deviation 1.
    """

    def __init__(self, inputs: int, halvings: int, width: int = 32) -> None:
        super().__init__()
        self.inputs, self.factor = inputs, 2**halvings
        self.channels = max(2, round(inputs * self.factor**2 / PACKED[halvings]))
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
    """How often a picture is halved: until the shorter side would have too few latents; once at least.

    Raises UserError for sides that cannot be halved.
    """
    if height % 2 or width % 2 or min(height, width) < 8:
        near = "x".join(str(max(8, side + side % 2)) for side in (height, width))
        raise UserError(f"--autoencoder self halves both sides, not possible from {height}x{width}; try --size {near}")
    count = 1
    while count < MOST and not any(side % 2 ** (count + 1) for side in (height, width)):
        if min(height, width) >> (count + 1) < FEWEST:
            break
        count += 1
    return count


def learnt(
    inputs: int,
    halvings: int,
    deal: Callable[[int], Tensor],
    *,
    steps: int,
    rate: float = RATE,
    device: torch.device | str = "cpu",
) -> Coder:
    """A coder after so many steps of AdamW on mean |error|, the rate up and down once. `deal(step)` gives images.

    A VAE (Kingma 2013, arXiv 1312.6114) whose posterior has one width for all, and whose prior is held by batch norm.
    The same images give the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix("autoencoder"))
        net = Coder(inputs, halvings)
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        images = deal(step).to(device)
        latents = net.encode(images)
        noise = torch.randn(latents.shape, generator=generator_at("autoencoder", step)).to(device)
        loss = F.l1_loss(net.decode(latents + NOISE * noise), images)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


class Published(nn.Module):
    """An `AutoencoderKL` of diffusers (Rombach 2022, arXiv 2112.10752); of its posterior, the mean."""

    def __init__(self, net: Any, where: str) -> None:
        super().__init__()
        self.net = net
        self.inputs, self.channels = net.config.in_channels, net.config.latent_channels
        self.factor = 2 ** (len(net.config.block_out_channels) - 1)
        self.describe = where

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, L, H / F, W / F), of whatever scale it has."""
        return self.net.encode(images).latent_dist.mode()

    def decode(self, latents: Tensor) -> Tensor:
        """(B, L, h, w) -> (B, C, F h, F w), in [-1, 1] or a little beyond."""
        return self.net.decode(latents).sample


def read_folder(folder: Path) -> Published:
    """A folder as diffusers saves an `AutoencoderKL`. Raises UserError where it is none; nothing is downloaded."""
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
            f"--autoencoder {folder}: is read by diffusers, which is not here: pip install 'mulligan[latent]'"
        ) from None
    try:
        kind = json.loads((folder / CONFIG).read_text()).get("_class_name")
        if kind != "AutoencoderKL":
            raise UserError(f"--autoencoder {folder}: {CONFIG} is of {kind or 'nothing known'}, not an AutoencoderKL")
        net, found = AutoencoderKL.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True,
            torch_dtype=torch.float32,
        )  # fmt: skip
    except UserError:
        raise
    except Exception as error:  # a library's, of any kind, about files that somebody made
        raise UserError(f"--autoencoder {folder}: cannot be read ({' '.join(str(error).split())[:160]})") from None
    if found["missing_keys"]:
        raise UserError(f"--autoencoder {folder}: {WEIGHTS} lacks {len(found['missing_keys'])} of its tensors")
    return Published(net, str(folder))
