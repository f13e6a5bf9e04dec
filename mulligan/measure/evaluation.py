"""Metrics of fakes from any source, against the real samples of a data set, with the protocol that they depend on."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import measures, refuse
from mulligan.core.sample import Sample
from mulligan.core.seeding import endless_order
from mulligan.data import Dataset
from mulligan.measure.fakes import Fakes
from mulligan.measure.judge import MOST, Extracted, Judge, real_indices
from mulligan.metrics.classifier import BATCH, Classifier, fitted, outputs
from mulligan.metrics.copying import authenticity, copied, copying, duplicates, image_duplicates, nearest_training
from mulligan.metrics.distances import by_class, measure
from mulligan.metrics.intervals import GROUPS as JACKKNIFED
from mulligan.metrics.intervals import Z, estimates, wilson
from mulligan.metrics.pictures import likeness, sliced_wasserstein, variety
from mulligan.metrics.unbiased import LEAST, fid_infinity, gaussian_distance, inception_score, two_sample_test

MOST_PICTURES = 2_000  # real ones, and as many fakes, from which patches are cut: 200 MB in colour
COPIES, CHANCE = 0.03, 1e-3  # limits of the share of fakes, and of p of the copying test, to report copying
STEPS = 400  # of the training of a classifier
USUAL = ("quality", "unbiased", "pictures", "copying")  # not usefulness, which trains two classifiers
PAIRS = 24  # pairs of a fake and its nearest training image, for display


def judged(
    fakes: Fakes,
    data: Dataset,
    *,
    groups: Sequence[str] = ("quality",),
    features: str = "auto",
    split: str = "heldout",
    samples: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] = lambda samples: None,
) -> dict[str, Any]:
    """Fakes measured against real images: {"metrics": ..., "says": [...], "notes": [...], "protocol": ...}, all JSON.

    Fakes with the classes of the data also give {"classes": {name: {"coverage": ..., "accuracy": ..., "fid": ...}}},
    and the means of these among the metrics. {"intervals": {name: [low, high]}} has 95 % intervals of some metrics.

    Args:
        groups: of `registry.measures`; what cannot be measured for these samples is left out, and a note says why.
        features: a feature net; "auto": the default for the data.
        split: the real samples, "heldout" or "train".
        samples: the number of fakes; by default as many as real ones, or all that there are.
        seed: of fakes that are generated on demand.
        progress: called with the number of samples, real and fake, whose features are computed so far.

    Raises:
        UserError: fakes and real samples of different shapes, more fakes requested than there are, too few of them.
    """
    for name in groups:
        measures[name]  # raises UserError for an unknown name
    refuse_fakes(fakes, data, samples)
    judge = Judge(data, features, device, split=split, num_fake=samples, seed=seed, progress=progress)
    count = fewest([fakes], judge)
    extracted = judge.extract(fakes.draw(count, seed), keep=set(groups) != {"quality"})
    protocol = dataclasses.replace(judge.protocol, num_fake=count, checkpoint=fakes.name, pairs=fakes.task)
    result: dict[str, Any] = {"metrics": {}}
    notes = notes_on(fakes, data)
    for group in groups:
        try:
            refuse(measures, group, data.sample)
            found = measures[group](judge, extracted, fakes)
        except UserError as error:
            notes.append(f"{group}: {error}")
        else:
            for part, numbers in found.items():
                result[part] = result.get(part, {}) | numbers
    if not result["metrics"]:
        raise UserError(notes[-1])
    says = sentences(result["metrics"], data.sample.noun)
    return result | {"says": says, "notes": notes, "protocol": protocol.as_dict()}


def sentences(metrics: dict[str, float], noun: str = "samples") -> list[str]:
    """What the numbers mean, for readers who are not used to them."""
    found = []
    if "copied" in metrics:
        near = f"{metrics['copied']:.1%} of them are closer to a training sample than 99 % of held-out {noun} are"
        copies = metrics["copied"] > COPIES and metrics["copying_p"] < CHANCE
        found.append(f"They copy training {noun}: {near}." if copies else f"No sign of copying: {near}.")
    if "cas" in metrics:
        found.append(
            f"A classifier that was trained only on them classifies {metrics['cas']:.1%} of held-out {noun} correctly; "
            f"one that was trained on as many real ones, {metrics['cas_of_real']:.1%}."
        )
    if "told_apart" in metrics:
        share = f"{metrics['told_apart']:.0%} of cases; 50 % is chance"
        found.append(f"A linear classifier distinguishes them from real {noun} in {share}.")
    return found


Found = dict[str, dict[str, Any]]


@measures.register("quality")
def quality(judge: Judge, extracted: Extracted, fakes: Fakes) -> Found:
    """Distance, fidelity and diversity, by class too; with intervals if there are enough samples."""
    k = judge.protocol.k
    found: Found = {"metrics": {}}
    if min(len(judge.real), len(extracted.features)) < 2 * JACKKNIFED:
        found["metrics"] = measure(judge.real, extracted.features, k=k)
    else:
        estimated = estimates(judge.real, extracted.features, k=k)
        found["metrics"] = {name: each.value for name, each in estimated.items()}
        found["metrics"]["kid_se"] = (estimated["kid"].high - estimated["kid"].value) / Z
        found["intervals"] = {name: [each.low, each.high] for name, each in estimated.items()}
    found["metrics"] |= extracted.modes | fakes.similarity()
    if fakes.classes and fakes.classes == list(judge.data.classes):
        found["classes"], means = of_classes(judge, extracted, fakes.classes)
        found["metrics"] |= means
    return found


@measures.register("unbiased")
def without_bias(judge: Judge, extracted: Extracted, fakes: Fakes) -> Found:
    """Distances that do not fall with more samples, and whether a classifier distinguishes fakes from real samples."""
    right, p = two_sample_test(judge.real, extracted.features)
    distance = gaussian_distance(judge.real, extracted.features)
    metrics = {"gaussian": distance, "told_apart": right, "told_apart_p": p}
    if min(len(judge.real), len(extracted.features)) >= LEAST:
        metrics["fid_infinity"], metrics["fid_infinity_se"] = fid_infinity(judge.real, extracted.features)
    if judge.net.has_head:
        with torch.inference_mode():
            metrics["inception_score"], _ = inception_score(judge.net.head(extracted.features).softmax(1))
    return {"metrics": metrics}


@measures.register("pictures", kinds={"image"})
def of_pictures(judge: Judge, extracted: Extracted, fakes: Fakes) -> Found:
    """Metrics of pixels and patches that need no features. Some of them need images of a certain size."""
    assert extracted.records is not None
    real = judge.records(MOST_PICTURES)
    fake = extracted.records[: len(real)]
    metrics = sliced_wasserstein(real, fake)
    metrics |= {"likeness": likeness(fake), "likeness_of_real": likeness(real)}
    if judge.net.has_maps:
        metrics |= {"variety": variety(fake, judge.net), "variety_of_real": variety(real, judge.net)}
    return {"metrics": metrics}


@measures.register("copying")
def memorisation(judge: Judge, extracted: Extracted, fakes: Fakes) -> Found:
    """Whether fakes are copies of training samples, compared with held-out ones; and the closest pairs, by index."""
    if judge.protocol.split != "heldout":
        raise UserError(
            "copying is measured with held-out samples: leave --split out; if the data are too few to hold any out, "
            "add some"
        )
    trained_on = fakes.trained_on or judge.data
    rows, _ = real_indices(trained_on, "train", MOST)
    train = judge.features_of(trained_on, rows)
    real, fake = nearest_training(train, judge.real, extracted.features)
    z, p, _ = copying(real, fake)
    known = trained_on.records(rows)
    assert extracted.records is not None
    same = {
        "duplicates": _copied_share(judge.data.sample, extracted.records, known),
        "duplicates_of_real": _copied_share(judge.data.sample, judge.records(len(judge.real)), known),
    }
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
        "closest": {"fakes": closest.tolist(), "train": rows[fake.index[closest].numpy()].tolist()},
    }


def _copied_share(sample: Sample, records: Tensor, known: Tensor) -> float:
    """The share of records with a copy among the known ones: near copies if the kind has pictures, else exact ones."""
    pictures, of_known = sample.pictures(records), sample.pictures(known)
    if pictures is not None and of_known is not None:
        return len(image_duplicates(pictures, of_known)) / len(records)
    return len(duplicates(records, known)) / len(records)


@measures.register("usefulness", kinds={"image"})
def usefulness(judge: Judge, extracted: Extracted, fakes: Fakes) -> Found:
    """Classification accuracy score (Ravuri and Vinyals 2019, arXiv 1905.10887), also in the reverse direction.

    `cas`: the accuracy, on real images, of a small classifier trained on as many fakes as there are training images;
    `cas_of_real`: of one trained on the training images; `cas_reversed`: the accuracy of the latter on the fakes.
    """
    data = judge.data
    if not fakes.classes or fakes.classes != list(data.classes):
        raise UserError("a classifier needs samples with the classes of the data, and these do not have them")
    if judge.protocol.split != "heldout":
        raise UserError("it is measured with held-out images; leave --split out, or give more data")
    count = min(len(data.train), MOST, *([] if fakes.count is None else [fakes.count]))
    blocks = list(fakes.draw(count, judge.protocol.seed))
    made, ids = torch.cat([images for images, _ in blocks]), torch.cat([cond["class"] for _, cond in blocks])
    rows, _ = real_indices(data, "train", count)
    known, labels = data.records(rows), torch.from_numpy(data.labels[rows])
    tests = judge.records(len(judge.real))

    def trained_on(images: Tensor, classes: Tensor) -> Classifier:
        def batch(step: int) -> tuple[Tensor, Tensor]:
            order = endless_order(len(images), judge.protocol.seed, step * BATCH, BATCH)
            return images[order], classes[order]

        return fitted(data.shape, len(data.classes), batch, steps=STEPS, seed=0, device=judge.device)

    def right(net: Classifier, images: Tensor, classes: Tensor) -> tuple[float, int]:
        share = (outputs(net, images, judge.device).argmax(1) == classes).double().mean().item()
        return share, len(images)

    of_fakes, of_real = trained_on(made, ids), trained_on(known, labels)
    shares = {
        "cas": right(of_fakes, tests, judge.classes),
        "cas_of_real": right(of_real, tests, judge.classes),
        "cas_reversed": right(of_real, made, ids),
    }
    return {
        "metrics": {name: share for name, (share, _) in shares.items()},
        "intervals": {name: list(wilson(*each)[1:]) for name, each in shares.items()},
    }


def fewest(fakes: Sequence[Fakes], judge: Judge) -> int:
    """The number of fakes of each: what the judge asks for, or what the smallest has."""
    return min([judge.protocol.num_fake, *(each.count for each in fakes if each.count is not None)])


def refuse_fakes(fakes: Fakes, data: Dataset, samples: int | None) -> None:
    """Raises UserError for fakes that cannot be measured against the data, before anything is computed."""
    if samples is not None and samples < 1:
        raise UserError(f"--samples {samples}: must be at least 1")
    if samples is not None and fakes.count is not None and samples > fakes.count:
        raise UserError(f"--samples {samples}: {fakes.name} holds {fakes.count:,} {fakes.sample.noun}")
    if fakes.sample != data.sample:
        raise UserError(
            f"{fakes.name}: its {fakes.sample.noun} are {fakes.sample}, the {data.sample.noun} of {data.name} "
            f"{data.sample}; read both alike, such as images with --size and --channels"
        )


def of_classes(judge: Judge, extracted: Extracted, names: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """Metrics by class, and their means over the classes for which they are known."""
    assert judge.classes is not None and extracted.classes is not None
    found = by_class(judge.real, judge.classes, extracted.features, extracted.classes, k=judge.protocol.k)
    means = {}
    for name in ("coverage", "accuracy", "fid"):
        known = [numbers[name] for numbers in found.values() if numbers[name] is not None]
        means |= {f"class_{name}": statistics.mean(known)} if known else {}
    return {names[each]: numbers for each, numbers in found.items()}, means


def notes_on(fakes: Fakes, data: Dataset) -> list[str]:
    """Notes that help to interpret the numbers."""
    if fakes.fingerprint == data.fingerprint:
        return [f"{fakes.name} is the data set itself: these are the numbers of a perfect copy"]
    return []
