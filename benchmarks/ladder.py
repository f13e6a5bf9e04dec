"""How well each feature net ranks a ladder of damage, and from which rung it notices any.

    python benchmarks/ladder.py DATA ... [--features digits random self] [--count 1000]

DATA: labelled images (`digits`, MNIST's folder, a zip of CIFAR-10). `count` training images are damaged, five ways, on
four rungs each, and measured against `count` others, with each feature net. `self, without labels` is `self` as it
learns where there are none.

order: Spearman's correlation of the rung, 0 to 4, with the measure. noticed: the first rung that is told from the
images as they are, by twice the standard error of both (KID), or of their shares (coverage). Writes
benchmarks/results/ladder.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.seeding import generator_at
from mulligan.data import ImageData, open_data
from mulligan.measure.features import feature_net
from mulligan.metrics.distances import measure
from mulligan.metrics.protocol import extract
from mulligan.runs.build import load_parts

RESULTS = Path(__file__).parent / "results" / "ladder.json"
RUNGS = (1, 2, 3, 4)


def blurred(images: Tensor, rung: int, labels: Tensor) -> Tensor:
    """By a Gaussian of half a pixel more with each rung."""
    sigma, reach = rung / 2, 2 * rung
    at = torch.arange(-reach, reach + 1.0)
    line = torch.softmax(-(at**2) / (2 * sigma**2), 0)
    kernel = (line[:, None] * line).expand(images.shape[1], 1, -1, -1)
    padded = F.pad(to_float(images), (reach,) * 4, mode="reflect")
    return to_uint8(F.conv2d(padded, kernel, groups=images.shape[1]))


def noisy(images: Tensor, rung: int, labels: Tensor) -> Tensor:
    """By 4, 8, 16, 32 grey levels."""
    noise = torch.randn(images.shape, generator=generator_at("noise", rung))
    return (images + noise * 2 ** (rung + 1)).round().clamp(0, 255).byte()


def without_classes(images: Tensor, rung: int, labels: Tensor) -> Tensor:
    """Of ten classes 1, 2, 4, 6 are missing, and others are there the more often."""
    classes = labels.unique()
    kept = torch.isin(labels, classes[round(len(classes) * (0.1, 0.2, 0.4, 0.6)[rung - 1]) :]).nonzero()[:, 0]
    return images[kept[torch.arange(len(images)) % len(kept)]]


def repeated(images: Tensor, rung: int, labels: Tensor) -> Tensor:
    """Of all images a half, a quarter, an eighth, a sixteenth are different ones."""
    return images[torch.arange(len(images)) % (len(images) >> rung)]


def swapped(images: Tensor, rung: int, labels: Tensor) -> Tensor:
    """1, 2, 4, 8 times two patches, a quarter of the side each, change places."""
    out, (height, width) = images.clone(), images.shape[2:]
    side, generator = min(height, width) // 4, generator_at("swap", rung)
    for image in out:
        for _ in range(2 ** (rung - 1)):
            ys = (torch.randint(height // side, (2,), generator=generator) * side).tolist()
            xs = (torch.randint(width // side, (2,), generator=generator) * side).tolist()
            one, two = (image[:, y : y + side, x : x + side] for y, x in zip(ys, xs, strict=True))
            kept = one.clone()
            one.copy_(two)
            two.copy_(kept)
    return out


Damage = Callable[[Tensor, int, Tensor], Tensor]
DAMAGES: dict[str, Damage] = {
    "blur": blurred, "noise": noisy, "dropped classes": without_classes, "duplicates": repeated,
    "swapped patches": swapped,
}  # fmt: skip


def climb(data: ImageData, features: str, count: int) -> dict[str, Any]:
    """Every damage on every rung, by one net."""
    _, net = feature_net(features, data)
    order = np.random.default_rng(0).permutation(data.train)
    real = extract(net, [data.images(order[:count])])
    images, labels = data.images(order[count : 2 * count]), data.label_of(order[count : 2 * count])
    assert labels is not None

    def measured(shown: Tensor) -> dict[str, float]:
        return measure(real, extract(net, [shown]), metrics=("kid", "fid", "coverage"))

    found: dict[str, Any] = {"net": net.describe}
    for name, damage in DAMAGES.items():
        rungs = [measured(images), *(measured(damage(images, rung, labels)) for rung in RUNGS)]
        found[name] = {
            **{f"{what}_order": ranked(rungs, what) for what in ("kid", "fid", "coverage")},
            "kid_noticed": noticed(rungs, lambda a, b: math.hypot(a["kid_se"], b["kid_se"]), "kid"),
            "coverage_noticed": noticed(rungs, lambda a, b: spread(a, b, count), "coverage"),
            "kid": [round(rung["kid"], 6) for rung in rungs],
            "coverage": [round(rung["coverage"], 4) for rung in rungs],
        }
    return found


def ranked(rungs: list[dict[str, float]], what: str) -> float:
    """1 where every rung is worse than the one below it."""
    sign = -1 if what == "coverage" else 1
    return round(float(spearmanr(range(len(rungs)), [sign * rung[what] for rung in rungs]).statistic), 3)


def spread(a: Mapping[str, float], b: Mapping[str, float], count: int) -> float:
    return math.sqrt(sum(each["coverage"] * (1 - each["coverage"]) / count for each in (a, b)))


def noticed(rungs: list[dict[str, float]], error: Callable[..., float], what: str) -> int | None:
    """The first rung that differs from what is whole by twice the error; None: not even the last."""
    whole = rungs[0]
    differs = [abs(rung[what] - whole[what]) > 2 * error(rung, whole) for rung in rungs[1:]]
    return next((rung for rung, seen in zip(RUNGS, differs, strict=True) if seen), None)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", nargs="+")
    arguments.add_argument("--features", nargs="+", default=["digits", "random", "self"])
    arguments.add_argument("--count", type=int, default=1000)
    options = arguments.parse_args()
    load_parts()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for spec in options.data:
        data = open_data(spec, labels=spec.endswith(".zip"))
        assert isinstance(data, ImageData) and data.labels is not None, f"{spec}: has no labels"
        of_data = found[data.name] = {"count": options.count, "fingerprint": data.fingerprint, "nets": {}}
        for features in options.features:
            of_data["nets"][features] = climb(data, features, options.count)
            if features == "self":
                plain = dataclasses.replace(data, fingerprint=data.fingerprint + "-plain", classes=[])
                of_data["nets"]["self, without labels"] = climb(plain, features, options.count)
        for net, damages in of_data["nets"].items():
            orders = {name: damages[name]["kid_order"] for name in DAMAGES}
            print(f"{data.name}, {net}: {orders}", flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
