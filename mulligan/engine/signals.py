"""Numbers that show how a game goes: cheap, and independent of the loss, the networks and the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def wins(real: Tensor, fake: Tensor) -> Tensor:
    """(A,) and (B,) logits -> (A,): the share of `fake` that each of `real` beats; a tie is half a win.

    Its mean is the area under the ROC curve: 1 when D tells all real from generated, 0.5 when it guesses, for any loss.
    """
    difference = real[:, None] - fake
    return (difference > 0).float().mean(1) + (difference == 0).float().mean(1) / 2


def spread(x: Tensor) -> Tensor:
    """(B, C, *space), B > 1 -> (B,): the root mean square difference of each from the next; 0 if all are equal."""
    return (x - x.roll(1, 0)).flatten(1).square().mean(1).sqrt()


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """(1,): the Euclidean norm of all gradients together."""
    return torch.nn.utils.get_total_norm(gradients)[None]
