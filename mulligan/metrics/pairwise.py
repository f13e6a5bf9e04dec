"""Distances between all of many points and all of many others, one block at a time.

Products in float32 take half the time of float64, and their error has a bound. So for most pairs float32 proves that
they are too far apart to matter, or certainly near. The few pairs in between are computed in float64, so that results
are those of float64. Squared distances between `Points` are in units of their scale squared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError

SIDE = 1024  # rows and columns of a tile: 2^20 distances or kernel values, measured as the fastest on CPUs
EXTRA = 5  # candidates kept in addition to the k nearest, so that float32 rarely leaves open which those are
PAIR_COST = 200  # one pair computed by itself takes as long as so many in a tile
SLACK = 1e-12  # of squared norms; far above float64's rounding: points a millionth of their size apart count as equal
INPUT_ERROR = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}  # by how much PyTorch may round a product's inputs
TINY = 1e-30  # of squared norms, which are at most 1: covers what float32 cannot represent


def strips(rows: int) -> Iterator[slice]:
    for top in range(0, rows, SIDE):
        yield slice(top, min(top + SIDE, rows))


def tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """A matrix in squares of at most `SIDE`, row by row."""
    for down in strips(rows):
        for across in strips(columns):
            yield down, across


def tiles_above(rows: int) -> Iterator[tuple[slice, slice, bool]]:
    """The tiles of a symmetric matrix on and above the diagonal, and whether each is on it: half of the work."""
    for down, across in tiles(rows, rows):
        if across.start >= down.start:
            yield down, across, across.start == down.start


class Points(NamedTuple):
    """(N, D) points relative to a centre near them: far from 0, |x|^2 + |y|^2 - 2 x.y would lose its digits."""

    original: Tensor  # (N, D) as they were given
    centre: Tensor  # (D,) float64
    scale: float  # a power of 2, so that dividing by it is exact
    scaled: Tensor  # (N, D) float32: (original - centre) / scale, none longer than 1
    norms: Tensor  # (N,) float64: their squared lengths

    def exact(self, which: slice | Tensor) -> Tensor:
        """`scaled` in float64."""
        return (self.original[which].double() - self.centre) / self.scale

    @property
    def relative_error(self) -> float:
        """The largest error of a squared distance by float32 products, as a share of the two squared norms.

        A sum of D products has an error of at most D roundings of |x| |y| <= (|x|^2 + |y|^2) / 2, in whatever order it
        is computed (Higham 2002, Accuracy and Stability, eq. 3.5). Rounded inputs, norms and results add less than 16.
        """
        rounding = (self.scaled.shape[1] + 16) * 2.0**-24
        return 1.1 * (rounding + 2 * INPUT_ERROR[torch.get_float32_matmul_precision()])


def centred(*sets: Tensor) -> list[Points]:
    """All of them relative to the mean of the first, on one scale."""
    centre = sets[0].mean(0, dtype=torch.float64)
    spread = max(each.max().item() for each in sets) - min(each.min().item() for each in sets)
    scale = 2.0 ** math.frexp(spread * math.sqrt(len(centre)))[1]
    found = []
    for original in sets:
        points = Points(
            original, centre, scale, torch.empty_like(original, dtype=torch.float32), centre.new_empty(len(original))
        )
        for rows in strips(len(original)):
            exact = points.exact(rows)
            points.scaled[rows], points.norms[rows] = exact, torch.linalg.vector_norm(exact, dim=1).square()
        found.append(points)
    return found


class Tile:
    """Squared distances of some points from some others."""

    def __init__(self, a: Points, rows: slice, b: Points, columns: slice) -> None:
        self.a, self.rows, self.b, self.columns = a, rows, b, columns
        x, y, share = a.norms[rows], b.norms[columns], a.relative_error
        norms = ((1 - share) * x - TINY).float()[:, None] + ((1 - share) * y).float()
        # float32 lower bounds of the true squared distances, and by how much at most they are too low
        self.lower = torch.addmm(norms, a.scaled[rows], b.scaled[columns].T, alpha=-2)
        self.gap = 2 * share * (x.max() + y.max()) + 2 * TINY

    def within(self, limits: Tensor) -> Tensor:
        """(rows, columns) bool: which are at most `limits`, float64 (rows, 1) or (columns,), apart from rounding."""
        near = self.lower <= (limits * (1 + 2.0**-22)).float()
        certain = self.lower <= (limits * (1 - 2.0**-22) - self.gap).float()
        i, j = (near ^ certain).nonzero(as_tuple=True)
        if len(i) * PAIR_COST > near.numel():
            return products(self.a, self.rows, self.b, self.columns, SLACK) <= limits
        row, column = i + self.rows.start, j + self.columns.start
        squared = between(self.a, row, self.b, column) - SLACK * (self.a.norms[row] + self.b.norms[column])
        near[i, j] = squared <= limits.expand(near.shape)[i, j]
        return near


def products(a: Points, rows: slice | Tensor, b: Points, columns: slice, slack: float = 0.0) -> Tensor:
    """(rows, columns) float64 squared distances, minus `slack` times the squared norms."""
    norms = a.norms[rows][:, None] + b.norms[columns]
    return torch.addmm(norms, a.exact(rows), b.exact(columns).T, beta=1 - slack, alpha=-2)


def between(a: Points, i: Tensor, b: Points, j: Tensor) -> Tensor:
    """(n,) float64 squared distances of the pairs of a's i-th and b's j-th point; 0 for copies."""
    found = a.norms.new_empty(len(i))
    for part in strips(len(i)):
        found[part] = ((a.original[i[part]].double() - b.original[j[part]]) / a.scale).square().sum(1)
    return found


class _Smallest:
    """The `count` smallest values of each row so far, ascending, and their columns."""

    def __init__(self, like: Tensor, rows: int, count: int) -> None:
        self.values = like.new_full((rows, count), torch.inf)
        self.which = torch.zeros((rows, count), dtype=torch.int64, device=like.device)

    def add(self, rows: slice, start: int, found: Tensor) -> None:
        """More columns, from `start` on."""
        count = self.values.shape[1]
        values, which = found.topk(min(count, found.shape[1]), dim=1, largest=False)
        values, which = torch.cat([self.values[rows], values], 1), torch.cat([self.which[rows], which + start], 1)
        self.values[rows], order = values.topk(count, dim=1, largest=False)
        self.which[rows] = which.gather(1, order)


def nearest_of(a: Points, b: Points, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances (n, k) from each of a to its k nearest of b, nearest first, and their indices.

    Where a is b, a point is not its own neighbour.
    """
    same = a is b
    candidates = _Smallest(a.scaled, len(a.norms), k + EXTRA)
    if same:
        for rows, columns, diagonal in tiles_above(len(a.norms)):
            lower = Tile(a, rows, a, columns).lower
            if diagonal:
                lower.fill_diagonal_(torch.inf)  # a duplicate is a neighbour, the point itself is not
            else:
                candidates.add(columns, rows.start, lower.T)
            candidates.add(rows, columns.start, lower)
    else:
        for rows, columns in tiles(len(a.norms), len(b.norms)):
            candidates.add(rows, columns.start, Tile(a, rows, b, columns).lower)
    row = torch.arange(len(a.norms), device=a.norms.device)
    squared = between(a, row.repeat_interleave(k + EXTRA), b, candidates.which.flatten()).view_as(candidates.which)
    squared, order = squared.masked_fill(candidates.values.isinf(), torch.inf).topk(k, dim=1, largest=False)
    which = candidates.which.gather(1, order)
    # All other points are at least as far as the last lower bound among the candidates.
    for some in (squared[:, -1] > candidates.values[:, -1].clamp(min=0)).nonzero()[:, 0].split(SIDE):
        smallest = _Smallest(a.norms, len(some), k)
        for columns in strips(len(b.norms)):
            found = products(a, some, b, columns)
            if same:
                found.masked_fill_(some[:, None] == row[columns], torch.inf)
            smallest.add(slice(None), columns.start, found)
        squared[some], which[some] = smallest.values.clamp(min=0), smallest.which
    return squared, which


def nearest(queries: Tensor, points: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Distances (n, k) from each query to its `k` nearest points, nearest first, and the points' indices (n, k)."""
    x, y = centred(*usable_pair(points, queries, f"the {k} nearest", k))
    squared, which = nearest_of(y, x, k)
    return squared.sqrt() * x.scale, which


def checked_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    """Both in float64, as copies that may be changed, if they are usable and have one width."""
    x, y = usable_pair(real, fake, what, least)
    return x.to(torch.float64, copy=True), y.to(torch.float64, copy=True)


def usable_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    x, y = usable(real, "real", what, least), usable(fake, "fake", what, least)
    same_width(x, y)
    return x, y


def same_width(real: Tensor, fake: Tensor) -> None:
    if real.shape[-1] != fake.shape[-1]:
        widths = f"real features have {real.shape[-1]} dimensions, fake ones {fake.shape[-1]}"
        raise UserError(f"{widths}; compute both with one feature net")


def checked(features: Tensor, name: str, what: str, least: int) -> Tensor:
    """The features in float64, a copy that may be changed, if they are usable."""
    return usable(features, name, what, least).to(torch.float64, copy=True)


def usable(features: Tensor, name: str, what: str, least: int) -> Tensor:
    """The features as they are, on a device that has float64. Raises UserError if nothing can be computed of them."""
    if features.dim() != 2:
        raise UserError(f"{name} features must be (N, D), not {tuple(features.shape)}")
    if len(features) < least:
        raise UserError(f"{what} needs at least {least} samples; {name} has {len(features)}")
    if not features.sum().isfinite() and (bad := (~features.isfinite()).any(1).sum().item()):
        raise UserError(f"{name} features of {bad} of {len(features)} samples are not finite")
    return features.detach().to("cpu" if features.device.type == "mps" else features.device)
