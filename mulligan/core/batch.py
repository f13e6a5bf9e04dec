"""The nouns that travel through a step, and the one range contract.

Legend: B batch, C channels, `*space` any number of spatial axes, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """What the data side deals: it travels whole, so pairs cannot come apart."""

    real: Tensor  # (B, C, *space) float in [-1, 1]
    cond: Tensor | None  # what G is told: None, class ids (B,), an image, ...


class Shown(NamedTuple):
    """An image that G is shown, to make one from: how it lies on the channels of `cond`, (B, channels, *space)."""

    channels: int
    mask: bool = False  # the last of them is 1 where the image is to be made, 0 where it is known and stays
    unpaired: bool = False  # it goes with none of the reals: what is made of it is to look as they do, not like any
    sides: bool = False  # the last of them is 0 everywhere where the image is to land in b, 1 where in a


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


def staged_like(real: Tensor, fake: Tensor) -> Tensor:
    """Reals as often on the channels as G, which may draw in stages, has put an image there: as it is for one."""
    stages = fake.shape[1] // real.shape[1]
    return real if stages == 1 else torch.cat([real] * stages, 1)


def to_float(images: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1]; with `to_uint8` the only pair of range converters.

    Floats, as points are, have that range already.
    """
    if images.is_floating_point():
        return images
    assert images.dtype == torch.uint8, images.dtype
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float [-1, 1] -> uint8 [0, 255], rounded to nearest, clamped. Inverse of `to_float` on its range."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def to_records(samples: Tensor) -> Tensor:
    """What G made, as data of its kind are kept: pictures (B, C, H, W) as uint8, anything else as float32."""
    return to_uint8(samples) if samples.ndim == 4 else samples.float()
