"""Which place of a generator's is the picture that one has, or has a part of: several starts, and the best is kept.

A search by gradients in the noise (Zhu 2016, arXiv 1609.03552, sec. 3.1). What is known of a picture may be all of it,
what a mask leaves (Yeh 2017, arXiv 1607.07539), or how it looks when made small (PULSE; Menon 2020, arXiv 2003.03808):
pictures are compared by that alone.

Legend: N pictures, C H W a picture, h w what is known of it, K starts, P draws that starts are chosen from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.seeding import mix
from mulligan.engine.sampling import CHUNK, noise_at
from mulligan.latent.spaces import Space

AT_ONCE = 1 << 19  # numbers of pictures that G makes at once,
KEPT = 1 << 26  # and of the draws that are kept to choose from
DROPS = (1 / 8, 1 / 4, 1 / 2)  # of the steps, after which the worse half of the starts is given up
LOOKS = 1 / 2  # of the steps, after which a feature net has a say: it costs more than G, and pixels choose well enough

Maps = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Search:
    """How long, and by what."""

    steps: int = 200
    starts: int = 8  # for every picture, of which one is left at the end
    draws: int = 1024  # that they are the best of, evenly over the classes
    rate: float = 0.1  # of Adam, in units of the space; falls to zero as a cosine does
    shell: float = 0.3  # weight of how far a place is from where samples come from, beside that of pixels, 1
    perceptual: float = 0.1  # weight of what a feature net sees

    def __post_init__(self) -> None:
        for name, least in {"steps": 0, "starts": 1, "draws": 1}.items():
            if getattr(self, name) < least:
                raise UserError(f"--{name} {getattr(self, name)}: at least {least}")
        if self.rate <= 0 or min(self.shell, self.perceptual) < 0:
            raise UserError("a rate must be above 0, and weights at least 0")


class Known(NamedTuple):
    """What there is of N pictures."""

    pictures: Tensor  # (N, C, h, w) in [-1, 1]
    weights: Tensor  # (N, 1, h, w), 1 where known, 0 where not


class Found(NamedTuple):
    """Where pictures lie."""

    places: Tensor  # (N, *shape of the space)
    classes: Tensor | None  # (N,)


def everything(made: Tensor) -> Tensor:
    return made


class Inverter:
    """Finds places of pictures. What it begins from depends on the seed alone, whatever is looked for, and with what.

    `seen` makes of G's pictures (B, C, H, W) what is known of those that are looked for, (B, C, h, w). `classes` are
    those it may choose from: None where G is told none.
    """

    def __init__(
        self,
        space: Space,
        z_shape: Sequence[int],
        classes: Sequence[int] | None,
        *,
        seen: Callable[[Tensor], Tensor] = everything,
        maps: Maps | None = None,
        search: Search | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.space, self.seen, self.device = space, seen, device
        self.search = search or Search()
        self.maps = maps if self.search.perceptual else None
        self.by_class = classes is not None
        with torch.no_grad():
            one = noise_at(0, 0, z_shape)[None].to(device)
            told = self._told(torch.tensor(list(classes or [0])[:1], device=device))
            self.numbers = space.pictures(space.places(one, told), told).numel()
            draws = max(min(self.search.draws, KEPT // self.numbers), self.search.starts, len(classes or ()))
            z = torch.stack([noise_at(mix("invert", seed), i, z_shape) for i in range(draws)]).to(device)
            ids = torch.tensor([(classes or [0])[i % len(classes or [0])] for i in range(draws)], device=device)
            self.drawn = Found(
                torch.cat([space.places(a, self._told(b)) for a, b in self._chunks(z, ids)]), ids
            )  # (P, *shape), (P,)
            self.pool = torch.cat([seen(space.pictures(a, self._told(b))) for a, b in self._chunks(*self.drawn)])

    def find(self, known: Known, first: Found | None = None) -> Found:
        """The best place of each of N pictures. `first`: one more place to begin from for each, by who has a guess."""
        size = max(1, AT_ONCE // (self.search.starts * self.numbers))
        parts = []
        for start in range(0, len(known.pictures), size):
            some = slice(start, start + size)
            guess = first and Found(first.places[some], None if first.classes is None else first.classes[some])
            parts.append(self._find(Known(*(each[some].to(self.device) for each in known)), guess))
        classes = torch.cat([part.classes for part in parts]) if self.by_class else None
        return Found(torch.cat([part.places for part in parts]), classes)

    @torch.no_grad()
    def pictures(self, found: Found) -> Tensor:
        """(N, C, H, W), in [-1, 1] or a little beyond."""
        ids = torch.zeros(len(found.places), dtype=torch.int64) if found.classes is None else found.classes
        chunks = self._chunks(found.places.to(self.device), ids.to(self.device))
        return torch.cat([self.space.pictures(places, self._told(some)) for places, some in chunks])

    def _chunks(self, *tensors: Tensor) -> zip[tuple[Tensor, ...]]:
        return zip(*(each.split(CHUNK) for each in tensors), strict=True)

    def _told(self, ids: Tensor) -> Tensor | None:
        return ids if self.by_class else None

    def _find(self, known: Known, first: Found | None) -> Found:
        """The K best draws of each, then Adam, and again and again the worse half of them is given up."""
        places, ids = self._starts(known, first)  # (N, K, *shape), (N, K)
        wanted = None if self.maps is None else [seen[:, None] for seen in self.maps(known.pictures * known.weights)]
        steps = self.search.steps
        ends = sorted({round(share * steps) for share in DROPS} | {steps})
        free, done = (places / self.space.unit).detach(), 0
        for end in ends:
            sees = wanted if done >= round(LOOKS * steps) else None
            free = free.requires_grad_()
            adam = torch.optim.Adam([free], lr=self.search.rate, betas=(0.9, 0.99))
            for step in range(done, end):
                adam.param_groups[0]["lr"] = self.search.rate * (1 + math.cos(math.pi * step / steps)) / 2
                (free.grad,) = torch.autograd.grad(self._loss(free, ids, known, sees).sum(), free)
                adam.step()
            done, free = end, free.detach()
            keep = 1 if end == steps else -(-free.shape[1] // 2)
            if keep < free.shape[1]:
                with torch.no_grad():
                    best = self._loss(free, ids, known, sees).topk(keep, 1, largest=False).indices
                rows = torch.arange(len(free), device=free.device)[:, None]
                free, ids = free[rows, best], ids[rows, best]
        return Found((free[:, 0] * self.space.unit).cpu(), ids[:, 0].cpu() if self.by_class else None)

    def _starts(self, known: Known, first: Found | None) -> tuple[Tensor, Tensor]:
        """Of all draws the K nearest by what is known, with a guess in the place of the last of them."""
        x, w = known.pictures.flatten(1), known.weights.expand_as(known.pictures).flatten(1)
        y = self.pool.flatten(1)
        apart = w @ y.square().T - 2 * (w * x) @ y.T  # (N, P): sum of w (x - y)^2, but for what is alike for all draws
        best = apart.topk(self.search.starts, 1, largest=False).indices
        places, ids = self.drawn.places[best], self.drawn.classes[best]
        if first is not None:
            places[:, -1] = first.places.to(places)
            if first.classes is not None:
                ids[:, -1] = first.classes.to(ids)
        return places, ids

    def _loss(self, free: Tensor, ids: Tensor, known: Known, wanted: list[Tensor] | None) -> Tensor:
        """(N, K): mean squared pixels of what is known, what the net sees of it, and the strain on the place."""
        count = free.shape[:2]
        places = (free * self.space.unit).flatten(0, 1)
        made = self.seen(self.space.pictures(places, self._told(ids.flatten()))).unflatten(0, count)
        made = made * known.weights[:, None]
        apart = (made - (known.pictures * known.weights)[:, None]).square().flatten(2).sum(2)
        share = known.weights.flatten(1).sum(1) * known.pictures.shape[1]
        loss = apart / share[:, None] + self.search.shell * self.space.strain(places).view(count)
        if wanted is not None and self.maps is not None:
            seen = self.maps(made.flatten(0, 1))
            far = [(a.unflatten(0, count) - b).abs().flatten(2).mean(2) for a, b in zip(seen, wanted, strict=True)]
            loss = loss + self.search.perceptual * torch.stack(far).mean(0)
        return loss
