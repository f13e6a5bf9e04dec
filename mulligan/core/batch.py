"""The nouns that travel through a step, and the range of pictures.

Legend: B batch, C channels, `*space` any number of spatial axes, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.condition import Condition


class Batch(NamedTuple):
    """Real samples and what G is told with them: it travels whole, so that pairs cannot come apart."""

    real: Tensor  # (B, C, *space): float in [-1, 1] on the device, records as they are stored before that
    cond: Condition  # what G is told of each


class Judgement(NamedTuple):
    """What D says. Larger logit = more real, everywhere."""

    logits: list[Tensor]  # one per head, each (B,) or (B, *anything)
    features: list[Tensor]  # intermediate activations; may be empty
    classes: Tensor | None = None  # (B, K) logits of an auxiliary classifier, where D has one
    twins: Tensor | None = None  # (B, 2, K) logits of classes as of real images and as of generated ones
    codes: Tensor | None = None  # (B, codes) logits of which code G was given, where D reads it
    embeddings: Tensor | None = None  # (B, 2, E) of length 1: what D makes of a sample, and what it has for its class


def append_dims(x: Tensor, ndim: int) -> Tensor:
    """(B,) -> (B, 1, ..., 1) with `ndim` axes, so that it broadcasts against a sample of any rank."""
    return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def staged(real: Tensor, stages: int) -> Tensor:
    """Reals as often on the channels as G, which may draw in stages, puts a sample there."""
    return real if stages == 1 else torch.cat([real] * stages, 1)


def to_float(images: Tensor) -> Tensor:
    """Pictures, uint8 [0, 255] -> float32 [-1, 1]; with `to_uint8` the only pair of range converters.

    Floats have that range already.
    """
    if images.is_floating_point():
        return images
    assert images.dtype == torch.uint8, images.dtype
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float [-1, 1] -> uint8 [0, 255], rounded to nearest, clamped. Inverse of `to_float` on its range."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
