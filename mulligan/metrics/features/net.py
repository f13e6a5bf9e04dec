"""What a feature net is."""

from __future__ import annotations

import hashlib
from typing import Protocol

import torch
from torch import Tensor, nn


class FeatureNet(Protocol):
    """A frozen `nn.Module`: float images (B, C, H, W) in [-1, 1] -> (B, dim) float32, brought to its own size first.

    Some also have `maps(images) -> list[Tensor]`, what they see on the way: (B, ., h, w), fine to coarse, through which
    images get gradients. And some are `costly`: what they made of images is then kept on disk (`kept.Kept`).
    """

    dim: int
    stamp: str  # content hash of the weights
    describe: str  # one line
    resizing: str  # how it brings images to its size, for the protocol
    block: int  # images in one forward that keep its memory below about half a gigabyte

    def __call__(self, images: Tensor) -> Tensor: ...
    def to(self, device: torch.device | str) -> FeatureNet: ...


def stamp_of(net: nn.Module) -> str:
    """12 hexadecimal digits of the names and bytes of a net's weights; the same for the same weights in any file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if tensor.is_floating_point():  # not batch norm's step counter, which some files have and some lack
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def freeze(net: nn.Module) -> None:
    """For inference only: batch norm by its running statistics, no gradient for the weights."""
    net.eval().requires_grad_(False)
