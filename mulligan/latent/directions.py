"""Directions in a model's latent space: from its weights, its samples, or labelled images; kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_uint8
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError, unknown
from mulligan.core.seeding import endless_order, mix
from mulligan.data import open_data
from mulligan.engine.sampling import CHUNK, ClassConditions, noise_at
from mulligan.latent.analysis import activations, class_directions, first_layer_gram, pca_directions, sefa_directions
from mulligan.latent.files import read_facts, write_facts
from mulligan.latent.spaces import LatentBatch, Space, StyleSpace
from mulligan.metrics.classifier import fitted, outputs
from mulligan.metrics.features.net import stamp_of
from mulligan.runs.run import Run

SAMPLES, JACOBIANS = 2048, 8  # samples from which directions and their spread are found; points of which slopes are
CLASSIFIED = 4096  # samples that a classifier labels
STEPS, BATCH = 400, 64  # of that classifier
METHODS = ("sefa", "pca")


@dataclass(frozen=True)
class Directions:
    """Directions in a latent space of a model: `save` and `read`, as safetensors."""

    space: str  # z or w
    vectors: Tensor  # (D, *shape), of length 1
    spread: Tensor  # (D,): standard deviation of samples along each
    names: list[str]
    of: str  # stamp of the generator
    layers: list[int] | None = None  # of a generator with styles: the layers whose styles are changed; None: all
    accuracy: float | None = None  # of predicting classes of held-out samples by their latents

    def only(self, numbers: Sequence[int]) -> Directions:
        """Some of them. Raises UserError for numbers that there are not."""
        if not numbers or max(numbers) >= len(self.vectors):
            raise UserError(f"--number {','.join(map(str, numbers))}: there are directions 0-{len(self.vectors) - 1}")
        rows = list(numbers)
        return replace(
            self, vectors=self.vectors[rows], spread=self.spread[rows], names=[self.names[row] for row in rows]
        )

    def save(self, path: str | Path) -> None:
        facts = {name: getattr(self, name) for name in ("space", "names", "of", "layers", "accuracy")}
        write_facts(path, "directions", {"vectors": self.vectors, "spread": self.spread}, facts)

    @classmethod
    def read(cls, path: str | Path, run: Run | None = None) -> Directions:
        """Raises UserError for a file that holds no directions, or those of another generator than the run's."""
        tensors, facts = read_facts(path, "directions", run)
        facts.pop("kind")
        facts["accuracy"] = facts.pop("told", facts.get("accuracy"))  # "told" in older files
        return cls(vectors=tensors["vectors"], spread=tensors["spread"], **facts)


@torch.no_grad()
def sampled_latents(run: Run, space: Space, count: int) -> LatentBatch:
    """Latents and classes of samples, always the same ones."""
    conditions = ClassConditions(mix("draws", 0), run.class_counts)
    found = []
    for start in range(0, count, CHUNK):
        z = torch.stack([noise_at(mix("draws", 0), i, run.G.z_shape) for i in range(start, start + CHUNK)])
        cond = conditions(start, CHUNK).to(run.device)
        found.append(LatentBatch(space.latents(z.to(run.device), cond), cond.get("class")))
    return LatentBatch.cat(found).take(slice(count))


def spread_along(vectors: Tensor, samples: LatentBatch) -> Tensor:
    """(D,) standard deviations of samples (N, *shape) along directions (D, n)."""
    return (samples.latents.flatten(1) @ vectors.to(samples.latents).T).std(0).cpu()


def found_directions(run: Run, space: Space, method: str, number: int, layers: list[int] | None) -> Directions:
    """Directions without labels: from the weights of the first layers (sefa), or from how samples vary (pca)."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if space.name == "w+":
        raise UserError("space w+: directions are found in z or w")
    numbers = torch.Size(space.shape).numel() if not isinstance(space, StyleSpace) else space.shape[-1]
    if not 1 <= number <= numbers:
        raise UserError(f"--number {number}: this space has 1 to {numbers} directions")
    samples = sampled_latents(run, space, SAMPLES)
    if method == "pca":
        by_style = isinstance(space, StyleSpace)
        features = samples.latents if by_style else activations(run.G, space.images, samples)
        vectors = pca_directions(features, samples, number)
    else:
        vectors = sefa_directions(_gram(run, space, samples.take(slice(JACOBIANS)), layers), number)
    names = [f"{method} {index}" for index in range(number)]
    shape = space.shape if not isinstance(space, StyleSpace) else (1, space.shape[-1])
    return Directions(
        space.name, vectors.view(number, *shape).cpu(), spread_along(vectors, samples), names, stamp_of(run.G), layers
    )


def _gram(run: Run, space: Space, at: LatentBatch, layers: list[int] | None) -> Tensor:
    """(n, n) of the first layers; of a space of styles, the sum over `layers`."""
    if isinstance(space, StyleSpace):
        grams = first_layer_gram(run.G, space.images, LatentBatch(space.per_layer(at.latents), at.classes))
        return grams[layers if layers is not None else slice(None)].sum(0)

    def images(latents: Tensor, cond: Condition) -> Tensor:
        return space.images(latents.view(-1, *space.shape), cond)

    return first_layer_gram(run.G, images, LatentBatch(at.latents.flatten(1)[:, None], at.classes))[0]


def attribute_directions(run: Run, space: Space, data: str | Path | None) -> Directions:
    """The direction towards each class that a classifier of labelled images finds among samples.

    Raises UserError where G is given the class that the direction would lead to, or there are no labels.
    """
    if data is None and run.classes:
        raise UserError(
            f"{run.path}: its generator is given the class, so its noise does not determine it; `edit interpolate "
            "--class A --class B` goes from class to class, and --data PATH finds directions to classes of other images"
        )
    channels, *size = run.sample_kind.shape
    # other data are brought to what the run makes
    labelled = run.open_data() if data is None else open_data(data, size=tuple(size), channels=channels, labels=True)
    if labelled.labels is None:
        raise UserError(f"{labelled.name}: has no labels to find directions by; give --data PATH of labelled images")
    assert labelled.sample == run.sample_kind

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        rows = labelled.train[endless_order(len(labelled.train), 0, step * BATCH, BATCH)]
        labels = labelled.label_of(rows)
        assert labels is not None
        return labelled.records(rows), labels

    count = len(labelled.classes)
    net = fitted(labelled.shape, count, batch_at, steps=STEPS, seed=0, device=run.device)
    samples = sampled_latents(run, space, CLASSIFIED)
    with torch.no_grad():
        blocks = [samples.take(slice(start, start + CHUNK)) for start in range(0, CLASSIFIED, CHUNK)]
        images = torch.cat([to_uint8(space.images(some.latents, some.cond)).cpu() for some in blocks])
    predicted = outputs(net, images, run.device).argmax(1).to(run.device)
    present = predicted.unique()
    if len(present) < 2:
        only = labelled.classes[int(present[0])]
        raise UserError(f"the classifier takes all samples for {only!r}, so there is no other class to go to")
    standardised = ((samples.latents - space.mean) / space.std).flatten(1)
    vectors, accuracy = class_directions(standardised, torch.searchsorted(present, predicted), len(present))
    vectors = (vectors.view(-1, *space.shape) * space.std).flatten(1)
    vectors = F.normalize(vectors, dim=1)
    names = [labelled.classes[int(each)] for each in present]
    if len(present) == 2:  # the two directions are opposite
        vectors, names = vectors[1:], [f"{names[0]} to {names[1]}"]
    return Directions(
        space.name, vectors.view(-1, *space.shape).cpu(), spread_along(vectors, samples), names, stamp_of(run.G),
        accuracy=accuracy,
    )  # fmt: skip
