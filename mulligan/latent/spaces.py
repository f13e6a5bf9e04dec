"""Where a generator's pictures lie: in its noise z and, where it has styles, in w; and the ways between two places.

Legend: B batch, S numbers of a style, L layers that take one, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError, unknown
from mulligan.engine.sampling import CHUNK, classes_for, noise_at

SPACES = ("auto", "z", "w", "w+")
DRAWS = 2048  # of noise, by which the middle of w is known


class Space(Protocol):
    """Places of one shape, each of which is a picture."""

    name: str
    shape: tuple[int, ...]  # of a place
    middle: Tensor  # the mean of samples, and how far they are from it, by number; both broadcast against places
    unit: Tensor

    def places(self, z: Tensor, cond: Tensor | None) -> Tensor: ...
    def pictures(self, places: Tensor, cond: Tensor | None) -> Tensor: ...
    def strain(self, places: Tensor) -> Tensor: ...
    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor: ...


class Noise:
    """z itself. Nearly all of N(0, I) lies on a shell of radius sqrt(numbers), and G knows little else."""

    name = "z"

    def __init__(self, G: nn.Module, device: torch.device | str) -> None:
        self.G, self.shape = G, tuple(G.z_shape)
        self.middle, self.unit = torch.zeros((), device=device), torch.ones((), device=device)

    def places(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, *shape) -> the same."""
        return z

    def pictures(self, places: Tensor, cond: Tensor | None) -> Tensor:
        """(B, *shape), class ids (B,) or None -> (B, C, H, W)."""
        return self.G(places, cond)

    def strain(self, places: Tensor) -> Tensor:
        """(B,): how far from the shell, squared, where its radius is 1."""
        return (places.flatten(1).square().mean(1).clamp(min=1e-12).sqrt() - 1).square()

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Along the shell."""
        return slerp(a, b, t)


class Styles:
    """w, one style for all layers; or w+, one for each (Abdal 2019, arXiv 1904.03189): (B, 1, S) or (B, L, S)."""

    def __init__(self, G: nn.Module, counts: Sequence[int], device: torch.device | str, *, each: bool = False) -> None:
        self.G, self.name, self.layers = G, "w+" if each else "w", G.synthesis.count
        drawn = torch.cat(list(_styles(G, counts, device)))  # (DRAWS, S)
        self.shape = (self.layers if each else 1, drawn.shape[1])
        spread, self.middle = torch.std_mean(drawn, 0)
        self.unit = spread.clamp(min=1e-6)

    def places(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """z (B, *z_shape), class ids (B,) or None -> (B, 1 or L, S)."""
        return self.G.styled(z, cond)[:, : self.shape[0]]

    def pictures(self, places: Tensor, cond: Tensor | None) -> Tensor:
        """(B, 1 or L, S) -> (B, C, H, W). What the class had to say is in the style."""
        return self.G.synthesis(self.by_layer(places))

    def by_layer(self, places: Tensor) -> Tensor:
        """(B, 1 or L, S) -> (B, L, S)."""
        return places.expand(-1, self.layers, -1)

    def strain(self, places: Tensor) -> Tensor:
        """(B,): how much farther from the mean than samples are, squared, where they are 1 from it."""
        far = ((places - self.middle) / self.unit).flatten(1).square().mean(1).clamp(min=1e-12).sqrt()
        return (far - 1).relu().square()

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """In a straight line, which w allows and z does not."""
        return lerp(a, b, t)


@torch.no_grad()
def _styles(G: nn.Module, counts: Sequence[int], device: torch.device | str) -> Iterator[Tensor]:
    for start in range(0, DRAWS, CHUNK):
        z = torch.stack([noise_at(0, i, G.z_shape) for i in range(start, start + CHUNK)])
        ids = classes_for(0, start, CHUNK, counts, None)
        yield G.styled(z.to(device), None if ids is None else ids.to(device))[:, 0]


def has_styles(G: nn.Module) -> bool:
    return hasattr(G, "styled") and hasattr(G, "synthesis")


def space_of(G: nn.Module, name: str, counts: Sequence[int], device: torch.device | str) -> Space:
    """`auto` is w where G has styles, else z. Raises UserError for styles of a generator that has none."""
    if name not in SPACES:
        raise unknown("space", name, SPACES)
    name = ("w" if has_styles(G) else "z") if name == "auto" else name
    if name == "z":
        return Noise(G, device)
    if not has_styles(G):
        raise UserError(f"space {name}: this generator has no styles, its only space is z; stylegan2 and stylegan3 do")
    return Styles(G, counts, device, each=name == "w+")


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(B, *shape) both, t (B,) or () -> the place a share t of the way, in a straight line."""
    return torch.lerp(a, b, append_dims(t.expand(len(a)), a.ndim).to(a))


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(B, *shape) both, t (B,) or () -> along the great circle, the length going evenly from the one's to the other's.

    Shoemake 1985; for noise, White 2016 (arXiv 1609.04468, sec. 2.1): a straight line would leave the shell.
    """
    one, other = (each.flatten(1).cpu().double() for each in (a, b))  # not every device computes in it
    share = t.cpu().expand(len(a)).to(one)[:, None]
    lengths = [each.norm(dim=1, keepdim=True).clamp(min=1e-12) for each in (one, other)]
    u, v = one / lengths[0], other / lengths[1]
    angle = torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True)) * 2
    bent = (torch.sin((1 - share) * angle) * u + torch.sin(share * angle) * v) / torch.sin(angle)
    # the same direction needs no arc, and opposite ones have no arc of their own
    turned = torch.where(torch.sin(angle).abs() < 1e-6, torch.lerp(u, v, share), bent)
    return (turned * torch.lerp(*lengths, share)).to(a).view_as(a)


@contextlib.contextmanager
def classes_blended(G: nn.Module, classes: int, towards: Tensor, share: Tensor) -> Iterator[None]:
    """Within, G hears of each class `cond` (B,) a share 1 - `share` (B,), and of `towards` (B,) the rest.

    Whatever G knows of classes are rows of tables, which are mixed. Raises UserError for a generator without tables.
    """
    tables = [m for m in G.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == classes]
    if not tables:
        raise UserError("this generator has no table of classes, so nothing lies between two of them")

    def mixed(table: nn.Module, given: tuple[Tensor, ...], row: Tensor) -> Tensor:
        return torch.lerp(row, nn.functional.embedding(towards, table.weight), share.to(row)[:, None])

    hooks = [table.register_forward_hook(mixed) for table in tables]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
