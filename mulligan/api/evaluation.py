"""Numbers for fakes of any making, against the real images of a data set, with all that they depend on."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import torch

from mulligan.api.fakes import Fakes
from mulligan.api.judge import Judge, Seen
from mulligan.core.errors import UserError
from mulligan.data import Data
from mulligan.metrics.distances import by_class, measure


def judged(
    fakes: Fakes,
    data: Data,
    *,
    features: str = "auto",
    split: str = "heldout",
    samples: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Fakes measured against real images: {"metrics": {...}, "protocol": {...}, "notes": [...]}, JSON throughout.

    Of fakes that come by the classes of the data also {"classes": {name: {"coverage": ..., "accuracy": ...}}}, and
    their means among the metrics.

    Args:
        features: a feature net; "auto" is what the data name as their own.
        split: the real images, "heldout" or "train".
        samples: how many fakes; by default as many as real images, or as many as there are.
        seed: of fakes that are made on demand.

    Raises:
        UserError: another size or other channels on the two sides, more samples than there are, too few for a measure.
    """
    refuse_other_shapes(fakes, data)
    if samples is not None and fakes.count is not None and samples > fakes.count:
        raise UserError(f"--samples {samples}: {fakes.name} holds {fakes.count:,} images")
    judge = Judge(data, features, device, split=split, num_fake=samples, seed=seed)
    count = judge.protocol.num_fake if fakes.count is None else min(judge.protocol.num_fake, fakes.count)
    seen = judge.look(fakes.draw(count, seed))
    protocol = dataclasses.replace(judge.protocol, num_fake=count, checkpoint=fakes.name)
    result: dict[str, Any] = {"metrics": measure(judge.real, seen.features, k=protocol.k) | seen.modes}
    if fakes.classes and fakes.classes == list(data.classes):
        result["classes"], means = of_classes(judge, seen, fakes.classes)
        result["metrics"] |= means
    return result | {"protocol": protocol.as_dict(), "notes": notes_on(fakes, data)}


def refuse_other_shapes(fakes: Fakes, data: Data) -> None:
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
