"""Latent spaces of a generator: its noise z and, where it has styles, w; and how to interpolate in each.

Legend: N points, B batch, S numbers of a style, L layers that take one, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mulligan.core.batch import append_dims
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError, unknown
from mulligan.core.network import Generator
from mulligan.engine.sampling import CHUNK, ClassConditions, noise_at

SPACES = ("auto", "z", "w", "w+")
STYLE_SAMPLES = 2048  # from which the mean and the deviation of w are estimated


def class_condition(classes: Tensor | None) -> Condition:
    """Class ids (N,), or None where G is given none, as what G is given."""
    return Condition() if classes is None else Condition({"class": classes})


class LatentBatch(NamedTuple):
    """Points of a latent space, and their classes where G is given any."""

    latents: Tensor  # (N, *shape)
    classes: Tensor | None  # (N,) int64

    @property
    def cond(self) -> Condition:
        """What G is given with them."""
        return class_condition(self.classes)

    def take(self, rows: slice) -> LatentBatch:
        return LatentBatch(self.latents[rows], None if self.classes is None else self.classes[rows])

    def to(self, device: torch.device | str) -> LatentBatch:
        return LatentBatch(self.latents.to(device), None if self.classes is None else self.classes.to(device))

    @staticmethod
    def cat(parts: Sequence[LatentBatch]) -> LatentBatch:
        classes = [part.classes for part in parts if part.classes is not None]
        return LatentBatch(torch.cat([part.latents for part in parts]), torch.cat(classes) if classes else None)


class Space(Protocol):
    """Points of one shape, each of which stands for an image."""

    name: str
    shape: tuple[int, ...]  # of one point
    mean: Tensor  # of samples, per number; it broadcasts against points
    std: Tensor  # their standard deviation, likewise

    def latents(self, z: Tensor, cond: Condition) -> Tensor: ...
    def images(self, latents: Tensor, cond: Condition) -> Tensor: ...
    def penalty(self, latents: Tensor) -> Tensor: ...
    def interpolate(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor: ...


class NoiseSpace:
    """z itself. Nearly all of N(0, I) lies near a sphere of radius sqrt(numbers), and G was trained on little else."""

    name = "z"

    def __init__(self, G: Generator, device: torch.device | str) -> None:
        self.G, self.shape = G, tuple(G.z_shape)
        self.mean, self.std = torch.zeros((), device=device), torch.ones((), device=device)

    def latents(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, *shape) -> the same."""
        return z

    def images(self, latents: Tensor, cond: Condition) -> Tensor:
        """(B, *shape) -> (B, C, H, W)."""
        return self.G(latents, cond)

    def penalty(self, latents: Tensor) -> Tensor:
        """(B,): squared distance from the sphere, on a scale where its radius is 1."""
        return (latents.flatten(1).square().mean(1).clamp(min=1e-12).sqrt() - 1).square()

    def interpolate(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Along the sphere."""
        return slerp(a, b, t)


class StyleSpace:
    """w, one style for all layers; or w+, one for each (Abdal 2019, arXiv 1904.03189): (B, 1, S) or (B, L, S)."""

    def __init__(
        self, G: Generator, counts: Sequence[int], device: torch.device | str, *, each_layer: bool = False
    ) -> None:
        self.G, self.name, self.layers = G, "w+" if each_layer else "w", G.synthesis.count
        samples = torch.cat(list(_sampled_styles(G, counts, device)))  # (STYLE_SAMPLES, S)
        self.shape = (self.layers if each_layer else 1, samples.shape[1])
        std, self.mean = torch.std_mean(samples, 0)
        self.std = std.clamp(min=1e-6)

    def latents(self, z: Tensor, cond: Condition) -> Tensor:
        """z (B, *z_shape) -> (B, 1 or L, S)."""
        return self.G.styled(z, cond)[:, : self.shape[0]]

    def images(self, latents: Tensor, cond: Condition) -> Tensor:
        """(B, 1 or L, S) -> (B, C, H, W). The class is part of the style, so `cond` is not used."""
        return self.G.synthesis(self.per_layer(latents))

    def per_layer(self, latents: Tensor) -> Tensor:
        """(B, 1 or L, S) -> (B, L, S)."""
        return latents.expand(-1, self.layers, -1)

    def penalty(self, latents: Tensor) -> Tensor:
        """(B,): how much farther from the mean a point is than samples are (1 on this scale), squared; else 0."""
        distance = ((latents - self.mean) / self.std).flatten(1).square().mean(1).clamp(min=1e-12).sqrt()
        return (distance - 1).relu().square()

    def interpolate(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """In a straight line, which suits w but not z."""
        return lerp(a, b, t)


@torch.no_grad()
def _sampled_styles(G: Generator, counts: Sequence[int], device: torch.device | str) -> Iterator[Tensor]:
    conditions = ClassConditions(0, counts)
    for start in range(0, STYLE_SAMPLES, CHUNK):
        z = torch.stack([noise_at(0, i, G.z_shape) for i in range(start, start + CHUNK)])
        yield G.styled(z.to(device), conditions(start, CHUNK).to(device))[:, 0]


def space_of(G: Generator, name: str, counts: Sequence[int], device: torch.device | str) -> Space:
    """A space of G by name; `auto` is w where G has styles, else z. `counts`: how often the data have each class.

    Raises UserError for an unknown name, and for w or w+ of a generator without styles.
    """
    if name not in SPACES:
        raise unknown("space", name, SPACES)
    name = ("w" if G.has_styles else "z") if name == "auto" else name
    if name == "z":
        return NoiseSpace(G, device)
    if not G.has_styles:
        raise UserError(f"space {name}: this generator has no styles, its only space is z; stylegan2 and stylegan3 do")
    return StyleSpace(G, counts, device, each_layer=name == "w+")


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(B, *shape) both, t (B,) or () -> a + t (b - a)."""
    return torch.lerp(a, b, append_dims(t.expand(len(a)), a.ndim).to(a))


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(B, *shape) both, t (B,) or () -> the point at t on the great circle; the length changes linearly from a to b.

    Shoemake 1985; for noise, White 2016 (arXiv 1609.04468, sec. 2.1): a straight line would leave the sphere.
    """
    first, second = (each.flatten(1).cpu().double() for each in (a, b))  # not every device computes in float64
    share = t.cpu().expand(len(a)).to(first)[:, None]
    lengths = [each.norm(dim=1, keepdim=True).clamp(min=1e-12) for each in (first, second)]
    u, v = first / lengths[0], second / lengths[1]
    angle = torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True)) * 2
    arc = (torch.sin((1 - share) * angle) * u + torch.sin(share * angle) * v) / torch.sin(angle)
    # equal directions need no arc, and opposite ones do not define one
    unit = torch.where(torch.sin(angle).abs() < 1e-6, torch.lerp(u, v, share), arc)
    return (unit * torch.lerp(*lengths, share)).to(a).view_as(a)


@contextlib.contextmanager
def blended_classes(G: nn.Module, classes: int, other: Tensor, share: Tensor) -> Iterator[None]:
    """Inside, G gets mixtures of two classes: the given one counts 1 - `share` (B,), `other` (B,) ids count `share`.

    What G knows of classes are rows of embedding tables, and these are mixed. Raises UserError for a generator
    without such a table.
    """
    tables = [m for m in G.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == classes]
    if not tables:
        raise UserError("this generator has no embedding of classes, so it cannot mix two of them")

    def mix(table: nn.Module, inputs: tuple[Tensor, ...], row: Tensor) -> Tensor:
        return torch.lerp(row, nn.functional.embedding(other, table.weight), share.to(row)[:, None])

    hooks = [table.register_forward_hook(mix) for table in tables]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
