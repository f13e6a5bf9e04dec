"""Distances between all of many points and all of many others, a block at a time.

Products in float32 take half of the time of float64's, and what they may be wrong by has a bound. So they say of most
pairs that they are too far apart to matter, or surely near, and the few that they leave open are decided in float64:
answers are those of float64. Squared distances between `Points` are in units of their scale's square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError

SIDE = 1024  # of a tile: 2^20 distances or kernel values, measured fastest on CPUs
SPARE = 5  # candidates kept beyond the k nearest, so that float32 rarely leaves open who those are
OPEN = 200  # one by one, a pair takes as long as so many in a tile
SLACK = 1e-12  # of squared norms; far above float64's rounding: points a millionth of their size apart are one
SHORT = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}  # what PyTorch was allowed to cut from a product's inputs
TINY = 1e-30  # of squared norms, which are at most 1: covers what float32 cannot hold


def strips(rows: int) -> Iterator[slice]:
    for top in range(0, rows, SIDE):
        yield slice(top, min(top + SIDE, rows))


def tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """A matrix in squares of at most `SIDE`, row by row."""
    for down in strips(rows):
        for across in strips(columns):
            yield down, across


def tiles_above(rows: int) -> Iterator[tuple[slice, slice, bool]]:
    """Of a symmetric matrix the tiles on the diagonal and above it, and whether it lies on it: half of the work."""
    for down, across in tiles(rows, rows):
        if across.start >= down.start:
            yield down, across, across.start == down.start


class Points(NamedTuple):
    """(N, D) points around a centre near them: far from 0, |x|^2 + |y|^2 - 2 x.y would cancel."""

    given: Tensor  # (N, D) as they came
    centre: Tensor  # (D,) float64
    scale: float  # a power of 2, by which distances come out exact
    rough: Tensor  # (N, D) float32: (given - centre) / scale, none longer than 1
    norms: Tensor  # (N,) float64: their squared lengths

    def exact(self, which: slice | Tensor) -> Tensor:
        """`rough` in float64."""
        return (self.given[which].double() - self.centre) / self.scale

    @property
    def doubt(self) -> float:
        """What a squared distance by float32 products may be wrong by, as a share of the two squared norms.

        A sum of D products errs by at most D roundings of |x| |y| <= (|x|^2 + |y|^2) / 2, in whatever order it is taken
        (Higham 2002, Accuracy and Stability, eq. 3.5). Rounded inputs, norms and results are within 16 more.
        """
        return 1.1 * ((self.rough.shape[1] + 16) * 2.0**-24 + 2 * SHORT[torch.get_float32_matmul_precision()])


def together(*sets: Tensor) -> list[Points]:
    """All of them around the mean of the first."""
    centre = sets[0].mean(0, dtype=torch.float64)
    spread = max(each.max().item() for each in sets) - min(each.min().item() for each in sets)
    scale = 2.0 ** math.frexp(spread * math.sqrt(len(centre)))[1]
    found = []
    for given in sets:
        points = Points(
            given, centre, scale, torch.empty_like(given, dtype=torch.float32), centre.new_empty(len(given))
        )
        for rows in strips(len(given)):
            exact = points.exact(rows)
            points.rough[rows], points.norms[rows] = exact, torch.linalg.vector_norm(exact, dim=1).square()
        found.append(points)
    return found


class Tile:
    """Squared distances of some points from some others."""

    def __init__(self, a: Points, rows: slice, b: Points, columns: slice) -> None:
        self.a, self.rows, self.b, self.columns = a, rows, b, columns
        x, y = a.norms[rows], b.norms[columns]
        norms = ((1 - a.doubt) * x - TINY).float()[:, None] + ((1 - a.doubt) * y).float()
        self.floors = torch.addmm(norms, a.rough[rows], b.rough[columns].T, alpha=-2)  # float32: at most the true ones
        self.most = 2 * a.doubt * (x.max() + y.max()) + 2 * TINY  # that they may lie below them

    def within(self, limits: Tensor) -> Tensor:
        """(rows, columns) bool: which are at most `limits`, float64 (rows, 1) or (columns,), but for rounding."""
        near = self.floors <= (limits * (1 + 2.0**-22)).float()
        sure = self.floors <= (limits * (1 - 2.0**-22) - self.most).float()
        i, j = (near ^ sure).nonzero(as_tuple=True)
        if len(i) * OPEN > near.numel():
            return products(self.a, self.rows, self.b, self.columns, SLACK) <= limits
        at, its = i + self.rows.start, j + self.columns.start
        squared = between(self.a, at, self.b, its) - SLACK * (self.a.norms[at] + self.b.norms[its])
        near[i, j] = squared <= limits.expand(near.shape)[i, j]
        return near


def products(a: Points, rows: slice | Tensor, b: Points, columns: slice, slack: float = 0.0) -> Tensor:
    """(rows, columns) float64 squared distances, short by `slack` of the squared norms."""
    norms = a.norms[rows][:, None] + b.norms[columns]
    return torch.addmm(norms, a.exact(rows), b.exact(columns).T, beta=1 - slack, alpha=-2)


def between(a: Points, i: Tensor, b: Points, j: Tensor) -> Tensor:
    """(n,) float64 squared distances of the pairs of a's i-th and b's j-th; 0 for copies."""
    found = a.norms.new_empty(len(i))
    for some in strips(len(i)):
        found[some] = ((a.given[i[some]].double() - b.given[j[some]]) / a.scale).square().sum(1)
    return found


class _Nearest:
    """The `count` smallest values of each row so far, ascending, and the columns that they were in."""

    def __init__(self, like: Tensor, rows: int, count: int) -> None:
        self.values = like.new_full((rows, count), torch.inf)
        self.which = torch.zeros((rows, count), dtype=torch.int64, device=like.device)

    def take(self, rows: slice, start: int, found: Tensor) -> None:
        """More columns, from `start` on."""
        count = self.values.shape[1]
        values, which = found.topk(min(count, found.shape[1]), dim=1, largest=False)
        values, which = torch.cat([self.values[rows], values], 1), torch.cat([self.which[rows], which + start], 1)
        self.values[rows], order = values.topk(count, dim=1, largest=False)
        self.which[rows] = which.gather(1, order)


def nearest_of(a: Points, b: Points, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances (n, k) from each of a to its k nearest of b, nearest first, and which. Of itself: others."""
    alone = a is b
    listed = _Nearest(a.rough, len(a.norms), k + SPARE)
    if alone:
        for rows, columns, diagonal in tiles_above(len(a.norms)):
            floors = Tile(a, rows, a, columns).floors
            if diagonal:
                floors.fill_diagonal_(torch.inf)  # a duplicate is another, itself is not
            else:
                listed.take(columns, rows.start, floors.T)
            listed.take(rows, columns.start, floors)
    else:
        for rows, columns in tiles(len(a.norms), len(b.norms)):
            listed.take(rows, columns.start, Tile(a, rows, b, columns).floors)
    of = torch.arange(len(a.norms), device=a.norms.device)
    squared = between(a, of.repeat_interleave(k + SPARE), b, listed.which.flatten()).view_as(listed.which)
    squared, order = squared.masked_fill(listed.values.isinf(), torch.inf).topk(k, dim=1, largest=False)
    which = listed.which.gather(1, order)
    # All that are not listed are at least as far as the last floor of those that are.
    for some in (squared[:, -1] > listed.values[:, -1].clamp(min=0)).nonzero()[:, 0].split(SIDE):
        nearest = _Nearest(a.norms, len(some), k)
        for columns in strips(len(b.norms)):
            found = products(a, some, b, columns)
            if alone:
                found.masked_fill_(some[:, None] == of[columns], torch.inf)
            nearest.take(slice(None), columns.start, found)
        squared[some], which[some] = nearest.values.clamp(min=0), nearest.which
    return squared, which


def nearest(queries: Tensor, points: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Distances (n, k) from each query to its `k` nearest points, nearest first, and which they are (n, k)."""
    x, y = together(*usable_pair(points, queries, f"the {k} nearest", k))
    squared, which = nearest_of(y, x, k)
    return squared.sqrt() * x.scale, which


def checked_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    """Both in float64, copies to change, if they are usable and go together."""
    x, y = usable_pair(real, fake, what, least)
    return x.to(torch.float64, copy=True), y.to(torch.float64, copy=True)


def usable_pair(real: Tensor, fake: Tensor, what: str, least: int) -> tuple[Tensor, Tensor]:
    x, y = usable(real, "real", what, least), usable(fake, "fake", what, least)
    same_width(x, y)
    return x, y


def same_width(real: Tensor, fake: Tensor) -> None:
    if real.shape[-1] != fake.shape[-1]:
        widths = f"real features have {real.shape[-1]} dimensions, fake ones {fake.shape[-1]}"
        raise UserError(f"{widths}; take both with one feature net")


def checked(features: Tensor, side: str, what: str, least: int) -> Tensor:
    """The features in float64, a copy to change, if they are usable."""
    return usable(features, side, what, least).to(torch.float64, copy=True)


def usable(features: Tensor, side: str, what: str, least: int) -> Tensor:
    """The features as they are, on a device that has float64, if numbers can be made of them."""
    if features.ndim != 2:
        raise UserError(f"{side} features must be (N, D), not {tuple(features.shape)}")
    if len(features) < least:
        raise UserError(f"{what} needs at least {least} images; {side} has {len(features)}")
    if not features.sum().isfinite() and (bad := (~features.isfinite()).any(1).sum().item()):
        raise UserError(f"{side} features of {bad} of {len(features)} images are not finite")
    return features.detach().to("cpu" if features.device.type == "mps" else features.device)
