"""Numbers for fakes of any making, against the real images of a data set, with all that they depend on."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mulligan.core.errors import UserError, unknown
from mulligan.core.seeding import endless_order
from mulligan.data import Data, ImageData
from mulligan.measure.fakes import Fakes
from mulligan.measure.judge import MOST, Judge, Seen, real_indices
from mulligan.metrics.classifier import BATCH, Classifier, answers, fitted
from mulligan.metrics.copying import authenticity, beside, copied, copying, duplicates
from mulligan.metrics.distances import by_class, measure
from mulligan.metrics.intervals import GROUPS as JACKKNIFED
from mulligan.metrics.intervals import Z, estimates, wilson
from mulligan.metrics.pictures import likeness, sliced_wasserstein, variety
from mulligan.metrics.unbiased import LEAST, fid_infinity, gaussian_distance, inception_score, told_apart

MOST_PICTURES = 2_000  # a side, of which patches are cut: 200 MB in colour
COPIES, CHANCE = 0.03, 1e-3  # share of fakes, and p of the copying test, from which they are said to copy
STEPS = 400  # of a classifier's training
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
    looked_at: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Fakes measured against real images: {"metrics": ..., "says": [...], "notes": [...], "protocol": ...}, all JSON.

    Of fakes that come by the classes of the data also {"classes": {name: {"coverage": ..., "accuracy": ..., "fid":
    ...}}}, and their means among the metrics; of all that have one, {"intervals": {name: [low, high]}}, of 95 %.

    Args:
        groups: of `GROUPS`; what cannot be measured of these images is left out, and a note says why.
        features: a feature net; "auto" is what the data name as their own.
        split: the real images, "heldout" or "train".
        samples: how many fakes; by default as many as real images, or as many as there are.
        seed: of fakes that are made on demand.
        looked_at: is told how many images, real and fake, features were taken of so far.

    Raises:
        UserError: another size or other channels on the two sides, more samples than there are, too few for anything.
    """
    if wrong := [name for name in groups if name not in GROUPS]:
        raise unknown("group of measures", wrong[0], GROUPS)
    refuse(fakes, data, samples)
    judge = Judge(data, features, device, split=split, num_fake=samples, seed=seed, seen=looked_at)
    count = fewest([fakes], judge)
    seen = judge.look(fakes.draw(count, seed), keep=set(groups) != {"quality"})
    protocol = dataclasses.replace(judge.protocol, num_fake=count, checkpoint=fakes.name, pairs=fakes.task)
    result: dict[str, Any] = {"metrics": {}}
    notes = notes_on(fakes, data)
    for group in groups:
        try:
            found = GROUPS[group](judge, seen, fakes)
        except UserError as error:
            notes.append(f"{group}: {error}")
        else:
            for part, numbers in found.items():
                result[part] = result.get(part, {}) | numbers
    if not result["metrics"]:
        raise UserError(notes[-1])
    says = sentences(result["metrics"])
    return result | {"says": says, "notes": notes, "protocol": protocol.as_dict()}


def sentences(metrics: dict[str, float]) -> list[str]:
    """What the numbers come to, for who does not read them every day."""
    said = []
    if "copied" in metrics:
        near = f"{metrics['copied']:.1%} of them are nearer to a training image than all but 1 % of held-out images are"
        copies = metrics["copied"] > COPIES and metrics["copying_p"] < CHANCE
        said.append(f"They copy training images: {near}." if copies else f"No sign of copying: {near}.")
    if "cas" in metrics:
        said.append(
            f"A classifier that learnt from them alone is right on {metrics['cas']:.1%} of held-out images; from as "
            f"many real ones, on {metrics['cas_of_real']:.1%}."
        )
    if "told_apart" in metrics:
        right = f"{metrics['told_apart']:.0%} of cases; 50 % is guessing"
        said.append(f"A linear classifier tells them from real images in {right}.")
    return said


Found = dict[str, dict[str, Any]]


def quality(judge: Judge, seen: Seen, fakes: Fakes) -> Found:
    """Distance, fidelity and diversity with intervals, where there are images enough for them; and by class."""
    k = judge.protocol.k
    found: Found = {"metrics": {}}
    if min(len(judge.real), len(seen.features)) < 2 * JACKKNIFED:
        found["metrics"] = measure(judge.real, seen.features, k=k)
    else:
        estimated = estimates(judge.real, seen.features, k=k)
        found["metrics"] = {name: each.value for name, each in estimated.items()}
        found["metrics"]["kid_se"] = (estimated["kid"].high - estimated["kid"].value) / Z
        found["intervals"] = {name: [each.low, each.high] for name, each in estimated.items()}
    found["metrics"] |= seen.modes | fakes.beside()
    if fakes.classes and fakes.classes == list(judge.data.classes):
        found["classes"], means = of_classes(judge, seen, fakes.classes)
        found["metrics"] |= means
    return found


def without_bias(judge: Judge, seen: Seen, fakes: Fakes) -> Found:
    """Distances that more images do not lower, and whether a classifier tells fakes from reals."""
    right, chance = told_apart(judge.real, seen.features)
    metrics = {"gaussian": gaussian_distance(judge.real, seen.features), "told_apart": right, "told_apart_p": chance}
    if min(len(judge.real), len(seen.features)) >= LEAST:
        metrics["fid_infinity"], metrics["fid_infinity_se"] = fid_infinity(judge.real, seen.features)
    if hasattr(judge.net, "head"):
        with torch.inference_mode():
            metrics["inception_score"], _ = inception_score(judge.net.head(seen.features).softmax(1))
    return {"metrics": metrics}


def of_pictures(judge: Judge, seen: Seen, fakes: Fakes) -> Found:
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


def memorisation(judge: Judge, seen: Seen, fakes: Fakes) -> Found:
    """Whether fakes are copies of training images, told by held-out ones; and the closest pairs, by index."""
    if judge.protocol.split != "heldout":
        raise UserError(
            "copying is told by held-out images: leave --split out; where there are too few to hold any out, add some"
        )
    trained_on = fakes.trained_on or judge.data
    assert seen.images is not None
    rows, _ = real_indices(trained_on, "train", MOST)
    train = judge.features_of(trained_on, rows)
    real, fake = beside(train, judge.real, seen.features)
    z, p, _ = copying(real, fake)
    same = {}
    if seen.images.ndim == 4:
        known = trained_on.images(rows)
        for name, images in (("duplicates", seen.images), ("duplicates_of_real", judge.images(len(judge.real)))):
            same[name] = len(duplicates(images, known)) / len(images)
    closest = fake.distance.argsort()[:PAIRS]
    return {
        "metrics": {
            "copying_z": z,
            "copying_p": p,
            "copied": copied(real, fake),
            "authenticity": authenticity(fake),
            "authenticity_of_real": authenticity(real),
            **same,
        },
        "closest": {"fakes": closest.tolist(), "train": rows[fake.which[closest].numpy()].tolist()},
    }


def usefulness(judge: Judge, seen: Seen, fakes: Fakes) -> Found:
    """Classification accuracy score (Ravuri and Vinyals 2019, arXiv 1905.10887), and the same the other way round.

    `cas`: right of the real images, of a small classifier that learnt from as many fakes as there are images to train
    on; `cas_of_real`: of one that learnt from those; `cas_reversed`: what that one has right of the fakes.
    """
    data = judge.data
    if not isinstance(data, ImageData) or not fakes.classes or fakes.classes != list(data.classes):
        raise UserError("a classifier learns from pictures of the classes of the data, and these are told none of them")
    if judge.protocol.split != "heldout":
        raise UserError("it is told by held-out images; leave --split out, or give more data")
    count = min(len(data.train), MOST, *([] if fakes.count is None else [fakes.count]))
    blocks = list(fakes.draw(count, judge.protocol.seed))
    made, ids = torch.cat([images for images, _ in blocks]), torch.cat([each for _, each in blocks if each is not None])
    rows, _ = real_indices(data, "train", count)
    known, labels = data.images(rows), torch.from_numpy(data.labels[rows])
    tests = judge.images(len(judge.real))

    def learnt(images: Tensor, classes: Tensor) -> Classifier:
        def deal(step: int) -> tuple[Tensor, Tensor]:
            order = endless_order(len(images), judge.protocol.seed, step * BATCH, BATCH)
            return images[order], classes[order]

        return fitted(data.shape, len(data.classes), deal, steps=STEPS, seed=0, device=judge.device)

    def right(net: Classifier, images: Tensor, classes: Tensor) -> tuple[float, int]:
        share = (answers(net, images, judge.device).argmax(1) == classes).double().mean().item()
        return share, len(images)

    of_fakes, of_real = learnt(made, ids), learnt(known, labels)
    shares = {
        "cas": right(of_fakes, tests, judge.classes),
        "cas_of_real": right(of_real, tests, judge.classes),
        "cas_reversed": right(of_real, made, ids),
    }
    return {
        "metrics": {name: share for name, (share, _) in shares.items()},
        "intervals": {name: list(wilson(*each)[1:]) for name, each in shares.items()},
    }


GROUPS: dict[str, Callable[[Judge, Seen, Fakes], Found]] = {
    "quality": quality, "unbiased": without_bias, "pictures": of_pictures, "copying": memorisation,
    "usefulness": usefulness,
}  # fmt: skip
USUAL = tuple(name for name in GROUPS if name != "usefulness")  # which trains two classifiers


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
    for name in ("coverage", "accuracy", "fid"):
        known = [numbers[name] for numbers in found.values() if numbers[name] is not None]
        means |= {f"class_{name}": statistics.mean(known)} if known else {}
    return {names[each]: numbers for each, numbers in found.items()}, means


def notes_on(fakes: Fakes, data: Data) -> list[str]:
    """What a reader of the numbers had better know."""
    if fakes.fingerprint == data.fingerprint:
        return [f"{fakes.name} is the data set itself: these numbers say what copying it would score"]
    return []
