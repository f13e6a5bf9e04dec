"""Directions in a model's latent space: found by its weights, its samples, or labelled images, and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_uint8
from mulligan.core.errors import UserError, unknown
from mulligan.core.run import write_whole
from mulligan.core.seeding import endless_order, mix
from mulligan.data import ImageData, open_data
from mulligan.engine.sampling import CHUNK, classes_for, noise_at
from mulligan.latent.analysis import Draws, activations, factorised, gram, principal, towards
from mulligan.latent.finding import read_facts
from mulligan.latent.spaces import Space, Styles
from mulligan.metrics.classifier import answers, fitted
from mulligan.metrics.features.net import stamp_of
from mulligan.runs.run import Run

DRAWN, POINTS = 2048, 8  # samples that directions are found and measured by; at which slopes are taken
LABELLED = 4096  # samples that a classifier looks at
STEPS, BATCH = 400, 64  # of that classifier
METHODS = ("sefa", "pca")


@dataclass(frozen=True)
class Directions:
    """Ways through a space of a model: `save` and `read`, as safetensors."""

    space: str  # z or w
    vectors: Tensor  # (D, *shape), of length 1
    spread: Tensor  # (D,): how far samples are apart along each
    names: list[str]
    of: str  # stamp of the generator
    layers: list[int] | None = None  # of a generator with styles: those whose styles move; None: all
    told: float | None = None  # how often, by place alone, the class of other samples is told

    def only(self, numbers: Sequence[int]) -> Directions:
        if not numbers or max(numbers) >= len(self.vectors):
            raise UserError(f"--number {','.join(map(str, numbers))}: there are directions 0-{len(self.vectors) - 1}")
        rows = list(numbers)
        return replace(
            self, vectors=self.vectors[rows], spread=self.spread[rows], names=[self.names[row] for row in rows]
        )

    def save(self, path: str | Path) -> None:
        tensors = {"vectors": self.vectors.cpu().contiguous(), "spread": self.spread.cpu().contiguous()}
        kept = ("space", "names", "of", "layers", "told")
        facts = {"kind": "directions"} | {name: getattr(self, name) for name in kept}
        write_whole(Path(path), save(tensors, {"facts": json.dumps(facts)}))

    @classmethod
    def read(cls, path: str | Path, run: Run | None = None) -> Directions:
        """Raises UserError for a file that holds none, or directions through another generator than the run's."""
        tensors, facts = read_facts(Path(path), "directions", run)
        facts.pop("kind")
        return cls(vectors=tensors["vectors"], spread=tensors["spread"], **facts)


@torch.no_grad()
def draws(run: Run, where: Space, count: int) -> Draws:
    """Samples' places and classes."""
    counts = run.description["data"]["class_counts"] if run.classes else ()
    places, classes = [], []
    for start in range(0, count, CHUNK):
        z = torch.stack([noise_at(mix("draws", 0), i, run.G.z_shape) for i in range(start, start + CHUNK)])
        ids = classes_for(mix("draws", 0), start, CHUNK, counts, None)
        ids = None if ids is None else ids.to(run.device)
        places.append(where.places(z.to(run.device), ids))
        classes += [] if ids is None else [ids]
    return Draws(torch.cat(places)[:count], torch.cat(classes)[:count] if classes else None)


def along(vectors: Tensor, some: Draws) -> Tensor:
    """(D,) standard deviations of samples (N, *shape) along directions (D, n)."""
    return (some.places.flatten(1) @ vectors.to(some.places).T).std(0).cpu()


def unlabelled(run: Run, where: Space, method: str, number: int, layers: list[int] | None) -> Directions:
    """Directions by the weights of the first layers (sefa), or by what samples differ by (pca)."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    numbers = torch.Size(where.shape).numel() if not isinstance(where, Styles) else where.shape[-1]
    if not 1 <= number <= numbers:
        raise UserError(f"--number {number}: this space has 1 to {numbers} directions")
    some = draws(run, where, DRAWN)
    if method == "pca":
        seen = some.places if isinstance(where, Styles) else activations(run.G, where.pictures, some)
        vectors = principal(seen, some, number)
    else:
        classes = None if some.classes is None else some.classes[:POINTS]
        if isinstance(where, Styles):
            slopes = gram(run.G, where.pictures, Draws(where.by_layer(some.places[:POINTS]), classes))
            slopes = slopes[layers if layers is not None else slice(None)].sum(0)
        else:
            flat = some.places[:POINTS].flatten(1)[:, None]  # (M, 1, n)

            def pictures(places: Tensor, told: Tensor | None) -> Tensor:
                return where.pictures(places.view(-1, *where.shape), told)

            slopes = gram(run.G, pictures, Draws(flat, classes))[0]
        vectors = factorised(slopes, number)
    names = [f"{method} {index}" for index in range(number)]
    shape = where.shape if not isinstance(where, Styles) else (1, where.shape[-1])
    return Directions(
        where.name, vectors.view(number, *shape).cpu(), along(vectors, some), names, stamp_of(run.G), layers
    )


def attributes(run: Run, where: Space, data: str | Path | None) -> Directions:
    """The direction towards each class that a classifier of labelled images finds among samples.

    Raises UserError where G is told the class that the direction would lead to, or there are no labels.
    """
    if data is None and run.classes:
        raise UserError(
            f"{run.path}: is told the class, so its noise knows nothing of it; `edit interpolate --class A --class B` "
            "goes from class to class, and --data PATH finds directions to the classes of other images"
        )
    shape = tuple(run.description["data"]["shape"])
    wanted: dict[str, Any] = {"size": shape[1:], "channels": shape[0], "labels": True}  # as the run makes them
    labelled = run.open_data() if data is None else open_data(data, **wanted)
    if not isinstance(labelled, ImageData) or labelled.labels is None:
        raise UserError(f"{labelled.name}: has no labels, which say what directions lead to; give --data PATH")
    assert labelled.shape == shape

    def deal(step: int) -> tuple[Tensor, Tensor]:
        rows = labelled.train[endless_order(len(labelled.train), 0, step * BATCH, BATCH)]
        labels = labelled.label_of(rows)
        assert labels is not None
        return labelled.images(rows), labels

    count = len(labelled.classes)
    net = fitted(labelled.shape, count, deal, steps=STEPS, seed=0, device=run.device)
    some = draws(run, where, LABELLED)
    with torch.no_grad():
        pictures = torch.cat(
            [
                to_uint8(where.pictures(some.places[at], None if some.classes is None else some.classes[at])).cpu()
                for at in (slice(start, start + CHUNK) for start in range(0, LABELLED, CHUNK))
            ]
        )
    said = answers(net, pictures, run.device).argmax(1).to(run.device)
    present = said.unique()
    if len(present) < 2:
        raise UserError(f"the classifier takes all samples for {labelled.classes[int(present[0])]!r}; nothing to fit")
    free = ((some.places - where.middle) / where.unit).flatten(1)
    vectors, told = towards(free, torch.searchsorted(present, said), len(present))
    vectors = (vectors.view(-1, *where.shape) * where.unit).flatten(1)
    vectors = F.normalize(vectors, dim=1)
    names = [labelled.classes[int(each)] for each in present]
    if len(present) == 2:  # the one is the other, backwards
        vectors, names = vectors[1:], [f"{names[0]} to {names[1]}"]
    return Directions(
        where.name, vectors.view(-1, *where.shape).cpu(), along(vectors, some), names, stamp_of(run.G), told=told
    )
