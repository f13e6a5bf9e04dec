"""The data types of a training step, and the converters between ranges of images.

Legend: B batch, C channels, `*space` any number of spatial axes, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.condition import Condition
from mulligan.core.errors import UserError


class Batch(NamedTuple):
    """Real samples and the condition that G gets with them, in one object, so that pairs stay together."""

    real: Tensor  # (B, C, *space): float in [-1, 1] on the device; before that, records as they are stored
    cond: Condition  # the condition of each sample


class Judgement(NamedTuple):
    """The output of D. A larger logit always means more real."""

    logits: list[Tensor]  # one per head, each (B,) or (B, *anything)
    features: list[Tensor]  # intermediate activations; may be empty
    classes: Tensor | None = None  # (B, K) logits of an auxiliary classifier, if D has one
    twins: Tensor | None = None  # (B, 2, K) class logits for real images, and for generated ones
    codes: Tensor | None = None  # (B, codes) logits of the code that G was given, if D predicts it
    embeddings: Tensor | None = None  # (B, 2, E) of length 1: the embedding of a sample, and that of its class


def append_dims(x: Tensor, ndim: int) -> Tensor:
    """(B,) -> (B, 1, ..., 1) with `ndim` axes, so that it broadcasts against a sample of any rank."""
    return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def refuse_other_shape(fake: Tensor, real: Tensor, stages: int) -> None:
    """Raises UserError if G's samples do not have the shape of real ones (`staged`), so that D cannot take both."""
    if fake.shape != real.shape:
        each = f", once for each of its {stages} stages," if stages > 1 else ""
        raise UserError(
            f"the generator makes samples of shape {tuple(fake.shape[1:])}, but the real ones{each} have shape "
            f"{tuple(real.shape[1:])}; the discriminator needs both alike"
        )


def sample_means(x: Tensor) -> Tensor:
    """(B, *anything) -> (B,): the mean over all axes but the first."""
    return x.flatten(1).mean(1) if x.ndim > 1 else x


def staged(real: Tensor, stages: int) -> Tensor:
    """Real samples repeated on the channel axis, once for each stage in which G draws."""
    return real if stages == 1 else torch.cat([real] * stages, 1)


def to_float(images: Tensor) -> Tensor:
    """Images, uint8 [0, 255] -> float32 [-1, 1]; with `to_uint8` the only pair of range converters.

    Floats are returned unchanged: they have that range already.
    """
    if images.is_floating_point():
        return images
    assert images.dtype == torch.uint8, images.dtype
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float [-1, 1] -> uint8 [0, 255], rounded to nearest, clamped. Inverse of `to_float` on its range."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
