"""Distances between all of many points and all of many others, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mulligan.core.errors import UserError

SIDE = 1448  # of a tile: 2^21 distances or kernel values, 16 MB, measured fastest on CPUs


def tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """A matrix in squares of at most `SIDE`, row by row."""
    for top in range(0, rows, SIDE):
        for left in range(0, columns, SIDE):
            yield slice(top, min(top + SIDE, rows)), slice(left, min(left + SIDE, columns))


def tiles_above(rows: int) -> Iterator[tuple[slice, slice, bool]]:
    """Of a symmetric matrix the tiles on the diagonal and above it, and whether it lies on it: half of the work."""
    for down, across in tiles(rows, rows):
        if across.start >= down.start:
            yield down, across, across.start == down.start


def squared_norms(points: Tensor) -> Tensor:
    """(N,), without a copy of the points to square."""
    return torch.linalg.vector_norm(points, dim=1).square()


def squared_distances(a: Tensor, b: Tensor, a_norms: Tensor, b_norms: Tensor, slack: float = 0.0) -> Tensor:
    """(len(a), len(b)); short by `slack` of the squared norms, so that equal but for rounding passes for `<=`."""
    return torch.addmm(a_norms[:, None] + b_norms, a, b.T, beta=1 - slack, alpha=-2)


def centred_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    """Both in float64 around the reals' mean: far from 0, |x|^2 + |y|^2 - 2 x.y would cancel."""
    x, y = checked_pair(real, fake, what, least)
    centre = x.mean(0)
    return x.sub_(centre), y.sub_(centre)


def nearest(queries: Tensor, points: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Distances (n, k) from each query to its `k` nearest points, nearest first, and which they are (n, k)."""
    x, y = centred_pair(points, queries, f"the {k} nearest", k)
    x_norms, y_norms = squared_norms(x), squared_norms(y)
    least = y.new_full((len(y), k), torch.inf)
    which = torch.zeros(least.shape, dtype=torch.int64, device=y.device)
    for rows, columns in tiles(len(y), len(x)):
        squared = squared_distances(y[rows], x[columns], y_norms[rows], x_norms[columns])
        found = squared.topk(min(k, squared.shape[1]), dim=1, largest=False)
        distances = torch.cat([least[rows], found.values], 1)
        indices = torch.cat([which[rows], found.indices + columns.start], 1)
        least[rows], chosen = distances.topk(k, dim=1, largest=False)
        which[rows] = indices.gather(1, chosen)
    return least.clamp(min=0).sqrt(), which


def reach(points: Tensor, k: int) -> Tensor:
    """(N,) squared distance from each point to its k-th nearest other."""
    norms = squared_norms(points)
    least = points.new_full((len(points), k), torch.inf)

    def take(of: slice, squared: Tensor) -> None:
        found = squared.topk(min(k, squared.shape[1]), dim=1, largest=False).values
        least[of] = torch.cat([least[of], found], 1).topk(k, dim=1, largest=False).values

    for rows, columns, diagonal in tiles_above(len(points)):
        squared = squared_distances(points[rows], points[columns], norms[rows], norms[columns])
        if diagonal:
            squared.fill_diagonal_(torch.inf)  # a duplicate is another, itself is not
        else:
            take(columns, squared.T)
        take(rows, squared)
    return least[:, -1]


def checked_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    """Both in float64, copies to change, if they are usable and go together."""
    x, y = checked(real, "real", what, least), checked(fake, "fake", what, least)
    same_width(x, y)
    return x, y


def same_width(real: Tensor, fake: Tensor) -> None:
    if real.shape[-1] != fake.shape[-1]:
        widths = f"real features have {real.shape[-1]} dimensions, fake ones {fake.shape[-1]}"
        raise UserError(f"{widths}; take both with one feature net")


def checked(features: Tensor, side: str, what: str, least: int) -> Tensor:
    """The features in float64, a copy to change, if they are usable."""
    if features.ndim != 2:
        raise UserError(f"{side} features must be (N, D), not {tuple(features.shape)}")
    if len(features) < least:
        raise UserError(f"{what} needs at least {least} images; {side} has {len(features)}")
    if bad := (~features.isfinite()).any(1).sum().item():
        raise UserError(f"{side} features of {bad} of {len(features)} images are not finite")
    return features.detach().to("cpu" if features.device.type == "mps" else features.device, torch.float64, copy=True)
