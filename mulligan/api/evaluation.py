"""Numbers for fakes of any making, against the real images of a data set, with all that they depend on."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mulligan.api.fakes import Fakes
from mulligan.api.judge import MOST, Judge, Seen, real_indices
from mulligan.core.errors import UserError, unknown
from mulligan.data import Data
from mulligan.metrics.copying import authenticity, copied, copying, duplicates
from mulligan.metrics.distances import by_class, measure
from mulligan.metrics.intervals import estimates
from mulligan.metrics.pairs import nearest
from mulligan.metrics.pictures import likeness, sliced_wasserstein, variety
from mulligan.metrics.unbiased import LEAST, fid_infinity, gaussian_distance, inception_score, told_apart

MOST_PICTURES = 2_000  # a side, of which patches are cut: 200 MB in colour
COPIES, CHANCE = 0.03, 1e-3  # share of fakes, and p of the copying test, from which they are said to copy
PAIRS = 24  # of a fake and the training image next to it, to be looked at


def judged(
    fakes: Fakes,
    data: Data,
    *,
    groups: Sequence[str] = ("quality",),
    features: str = "auto",
    split: str = "heldout",
    samples: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Fakes measured against real images: {"metrics": ..., "says": [...], "notes": [...], "protocol": ...}, all JSON.

    Of fakes that come by the classes of the data also {"classes": {name: {"coverage": ..., "accuracy": ...}}}, and
    their means among the metrics; of all that have one, {"intervals": {name: [low, high]}}, of 95 %.

    Args:
        groups: of `GROUPS`; what cannot be measured of these images is left out, and a note says why.
        features: a feature net; "auto" is what the data name as their own.
        split: the real images, "heldout" or "train".
        samples: how many fakes; by default as many as real images, or as many as there are.
        seed: of fakes that are made on demand.

    Raises:
        UserError: another size or other channels on the two sides, more samples than there are, too few for quality.
    """
    if wrong := [name for name in groups if name not in GROUPS]:
        raise unknown("group of measures", wrong[0], GROUPS)
    refuse(fakes, data, samples)
    judge = Judge(data, features, device, split=split, num_fake=samples, seed=seed)
    count = fewest([fakes], judge)
    seen = judge.look(fakes.draw(count, seed), keep=set(groups) != {"quality"})
    protocol = dataclasses.replace(judge.protocol, num_fake=count, checkpoint=fakes.name, pairs=fakes.task)
    result: dict[str, Any] = {"metrics": measure(judge.real, seen.features, k=protocol.k) | seen.modes | fakes.beside()}
    if fakes.classes and fakes.classes == list(data.classes):
        result["classes"], means = of_classes(judge, seen, fakes.classes)
        result["metrics"] |= means
    notes = notes_on(fakes, data)
    for group in groups:
        try:
            found = GROUPS[group](judge, seen, fakes.trained_on or data)
        except UserError as error:
            notes.append(f"{group}: {error}")
        else:
            for part, numbers in found.items():
                result[part] = result.get(part, {}) | numbers
    says = sentences(result["metrics"])
    return result | {"says": says, "notes": notes, "protocol": protocol.as_dict()}


def sentences(metrics: dict[str, float]) -> list[str]:
    """What the numbers come to, for who does not read them every day."""
    said = []
    if "copied" in metrics:
        near = f"{metrics['copied']:.1%} of them are nearer to a training image than all but 1 % of held-out images are"
        copies = metrics["copied"] > COPIES and metrics["copying_p"] < CHANCE
        said.append(f"They copy training images: {near}." if copies else f"No sign of copying: {near}.")
    if "told_apart" in metrics:
        right = f"{metrics['told_apart']:.0%} of cases; 50 % is guessing"
        said.append(f"A linear classifier tells them from real images in {right}.")
    return said


Found = dict[str, dict[str, Any]]


def quality(judge: Judge, seen: Seen, trained_on: Data) -> Found:
    """The intervals of what is measured anyway."""
    found = estimates(judge.real, seen.features, k=judge.protocol.k)
    return {"intervals": {name: [low, high] for name, (_, low, high) in found.items()}}


def without_bias(judge: Judge, seen: Seen, trained_on: Data) -> Found:
    """Distances that more images do not lower, and whether a classifier tells fakes from reals."""
    right, chance = told_apart(judge.real, seen.features)
    metrics = {"gaussian": gaussian_distance(judge.real, seen.features), "told_apart": right, "told_apart_p": chance}
    if min(len(judge.real), len(seen.features)) >= LEAST:
        metrics["fid_infinity"], metrics["fid_infinity_se"] = fid_infinity(judge.real, seen.features)
    if hasattr(judge.net, "head"):
        with torch.inference_mode():
            metrics["inception_score"], _ = inception_score(judge.net.head(seen.features).softmax(1))
    return {"metrics": metrics}


def of_pictures(judge: Judge, seen: Seen, trained_on: Data) -> Found:
    """What needs no features, of at most `MOST_PICTURES` a side: as much of it as images of this size allow."""
    assert seen.images is not None
    if seen.images.ndim != 4:
        raise UserError("these are points, not pictures")
    real = judge.images(MOST_PICTURES)
    fake = seen.images[: len(real)]
    metrics = sliced_wasserstein(real, fake)
    metrics |= {"likeness": likeness(fake), "likeness_of_real": likeness(real)}
    if hasattr(judge.net, "maps"):
        metrics |= {"variety": variety(fake, judge.net), "variety_of_real": variety(real, judge.net)}
    return {"metrics": metrics}


def memorisation(judge: Judge, seen: Seen, trained_on: Data) -> Found:
    """Whether fakes are copies of training images, told by held-out ones; and the closest pairs, by index."""
    if judge.protocol.split != "heldout":
        raise UserError("copying is told by held-out images, and these data have too few; give more")
    assert seen.images is not None
    rows, _ = real_indices(trained_on, "train", MOST)
    train = judge.features_of(trained_on, rows)
    z, p, _ = copying(train, judge.real, seen.features)
    same = {}
    if seen.images.ndim == 4:
        known = trained_on.images(rows)
        for name, images in (("duplicates", seen.images), ("duplicates_of_real", judge.images(len(judge.real)))):
            same[name] = len(duplicates(images, known)) / len(images)
    distances, indices = nearest(seen.features, train)
    closest = distances[:, 0].argsort()[:PAIRS]
    return {
        "metrics": {
            "copying_z": z,
            "copying_p": p,
            "copied": copied(train, judge.real, seen.features),
            "authenticity": authenticity(train, seen.features),
            "authenticity_of_real": authenticity(train, judge.real),
            **same,
        },
        "closest": {"fakes": closest.tolist(), "train": rows[indices[closest, 0].numpy()].tolist()},
    }


GROUPS: dict[str, Callable[[Judge, Seen, Data], Found]] = {
    "quality": quality, "unbiased": without_bias, "pictures": of_pictures, "copying": memorisation,
}  # fmt: skip


def fewest(fakes: Sequence[Fakes], judge: Judge) -> int:
    """As many fakes of each as the judge wants, or as all of them have."""
    return min([judge.protocol.num_fake, *(each.count for each in fakes if each.count is not None)])


def refuse(fakes: Fakes, data: Data, samples: int | None) -> None:
    """Raises UserError for what cannot be measured against the data, before anything is computed."""
    if samples is not None and fakes.count is not None and samples > fakes.count:
        raise UserError(f"--samples {samples}: {fakes.name} holds {fakes.count:,} images")
    if fakes.shape != data.shape:
        theirs, ours = ("x".join(map(str, shape)) for shape in (fakes.shape, data.shape))
        raise UserError(
            f"{fakes.name}: its images are {theirs} (channels x height x width), those of {data.name} {ours}; "
            "bring both to one with --size and --channels"
        )


def of_classes(judge: Judge, seen: Seen, names: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """Numbers by class, and their means over the classes where they are known."""
    assert judge.classes is not None and seen.classes is not None
    found = by_class(judge.real, judge.classes, seen.features, seen.classes, k=judge.protocol.k)
    means = {}
    for name in ("coverage", "accuracy"):
        known = [numbers[name] for numbers in found.values() if numbers[name] is not None]
        means |= {f"class_{name}": statistics.mean(known)} if known else {}
    return {names[each]: numbers for each, numbers in found.items()}, means


def notes_on(fakes: Fakes, data: Data) -> list[str]:
    """What a reader of the numbers had better know."""
    if fakes.fingerprint == data.fingerprint:
        return [f"{fakes.name} is the data set itself: these numbers say what copying it would score"]
    return []
