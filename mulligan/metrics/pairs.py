"""Distances between all of many points and all of many others, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mulligan.core.errors import UserError

PAIRS_AT_ONCE = 2**21  # distances or kernel values held: 16 MB, measured fastest on CPUs


def blocks(rows: Tensor, columns: int) -> Iterator[tuple[int, Tensor]]:
    """Rows in blocks, and where each begins, so that a block against `columns` others stays within PAIRS_AT_ONCE."""
    size = max(64, PAIRS_AT_ONCE // columns)
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def squared_distances(a: Tensor, b: Tensor, b_norms: Tensor, slack: float = 0.0) -> Tensor:
    """(len(a), len(b)); short by `slack` of the squared norms, so that equal but for rounding passes for `<=`."""
    norms = a.square().sum(1)[:, None] + b_norms
    return torch.addmm(norms, a, b.T, beta=1 - slack, alpha=-2)


def nearest(queries: Tensor, points: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Distances (n, k) from each query to its `k` nearest points, nearest first, and which they are (n, k)."""
    x, y = checked_pair(points, queries, f"the {k} nearest", k)
    centre = x.mean(0)  # far from 0, |x|^2 + |y|^2 - 2 x.y would cancel
    x, y = x - centre, y - centre
    norms = x.square().sum(1)
    found = [squared_distances(block, x, norms).topk(k, dim=1, largest=False) for _, block in blocks(y, len(x))]
    squared = torch.cat([each.values for each in found])
    return squared.clamp(min=0).sqrt(), torch.cat([each.indices for each in found])


def reach(points: Tensor, k: int) -> Tensor:
    """(N,) squared distance from each point to its k-th nearest other."""
    reaches, norms = [], points.square().sum(1)
    for start, block in blocks(points, len(points)):
        squared = squared_distances(block, points, norms)
        squared.diagonal(start).fill_(torch.inf)  # a duplicate is another, itself is not
        reaches.append(squared.kthvalue(k, dim=1).values)
    return torch.cat(reaches)


def checked_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    """Both in float64, if they are usable and go together."""
    x, y = checked(real, "real", what, least), checked(fake, "fake", what, least)
    same_width(x, y)
    return x, y


def same_width(real: Tensor, fake: Tensor) -> None:
    if real.shape[-1] != fake.shape[-1]:
        widths = f"real features have {real.shape[-1]} dimensions, fake ones {fake.shape[-1]}"
        raise UserError(f"{widths}; take both with one feature net")


def checked(features: Tensor, side: str, what: str, least: int) -> Tensor:
    """The features in float64, if they are usable."""
    if features.ndim != 2:
        raise UserError(f"{side} features must be (N, D), not {tuple(features.shape)}")
    if len(features) < least:
        raise UserError(f"{what} needs at least {least} images; {side} has {len(features)}")
    if bad := (~features.isfinite()).any(1).sum().item():
        raise UserError(f"{side} features of {bad} of {len(features)} images are not finite")
    return features.detach().to("cpu" if features.device.type == "mps" else features.device, torch.float64)
