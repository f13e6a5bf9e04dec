"""What a feature net is: the base class of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn


class FeatureNet(nn.Module):
    """A frozen net: float samples (B, *shape), as networks see them, -> (B, dim) float32.

    Nets for images take them in [-1, 1] and in any size, and resize them first. `has_maps` and `has_head` are for an
    instance; `gives` at the registration is the same for lookups by name.
    """

    costly: ClassVar[bool] = False  # its features are worth a cache on disk (`feature_cache.FeatureCache`)
    has_maps: ClassVar[bool] = False  # `maps(samples)`
    has_head: ClassVar[bool] = False  # `head(features)`

    dim: int  # features of one sample
    stamp: str = ""  # content hash of the weights
    describe: str = ""  # one line
    resizing: str = "none"  # how it changes the size of a sample, for the protocol
    block: int = 256  # samples in one forward pass, so that it needs less than about half a gigabyte
    head: Callable[[Tensor], Tensor]  # (B, dim) -> logits of classes (B, K)

    def forward(self, samples: Tensor) -> Tensor:
        raise NotImplementedError

    def maps(self, samples: Tensor) -> list[Tensor]:
        """Activations (B, C, *space) of its layers, fine to coarse; gradients pass through them to the samples."""
        raise NotImplementedError


def stamp_of(net: nn.Module) -> str:
    """12 hexadecimal digits of the names and bytes of a net's weights; the same for the same weights in any file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if tensor.is_floating_point():  # not batch norm's step counter, which only some files have
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def freeze(net: nn.Module) -> None:
    """For inference only: batch norm by its running statistics, no gradient for the weights."""
    net.eval().requires_grad_(False)
