"""How well each feature net ranks levels of damage, and the first level at which it notices any.

    python benchmarks/ladder.py DATA ... [--features digits random self] [--count 1000]

DATA: labelled images (`digits`, MNIST's folder, a zip of CIFAR-10). `count` training images are damaged in five ways,
at four levels each, and measured against `count` others, with each feature net. `self, without labels` is `self` as it
is trained on images without labels.

order: Spearman's correlation of the level, 0 to 4, with the metric. noticed: the first level whose metric differs from
that of the undamaged images by more than twice the standard error of both (KID), or of their shares (coverage). Writes
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
from mulligan.data import Dataset, open_data
from mulligan.measure.features import feature_net
from mulligan.metrics.distances import measure
from mulligan.metrics.protocol import extract
from mulligan.runs.parts import load_parts

RESULTS = Path(__file__).parent / "results" / "ladder.json"
LEVELS = (1, 2, 3, 4)


def blurred(images: Tensor, level: int, labels: Tensor) -> Tensor:
    """By a Gaussian whose sigma is half a pixel larger at each level."""
    sigma, reach = level / 2, 2 * level
    at = torch.arange(-reach, reach + 1.0)
    line = torch.softmax(-(at**2) / (2 * sigma**2), 0)
    kernel = (line[:, None] * line).expand(images.shape[1], 1, -1, -1)
    padded = F.pad(to_float(images), (reach,) * 4, mode="reflect")
    return to_uint8(F.conv2d(padded, kernel, groups=images.shape[1]))


def noisy(images: Tensor, level: int, labels: Tensor) -> Tensor:
    """Gaussian noise of 4, 8, 16 or 32 grey levels."""
    noise = torch.randn(images.shape, generator=generator_at("noise", level))
    return (images + noise * 2 ** (level + 1)).round().clamp(0, 255).byte()


def without_classes(images: Tensor, level: int, labels: Tensor) -> Tensor:
    """Of ten classes 1, 2, 4 or 6 are missing, and the others are more frequent instead."""
    classes = labels.unique()
    left = torch.isin(labels, classes[round(len(classes) * (0.1, 0.2, 0.4, 0.6)[level - 1]) :]).nonzero()[:, 0]
    return images[left[torch.arange(len(images)) % len(left)]]


def repeated(images: Tensor, level: int, labels: Tensor) -> Tensor:
    """Only a half, a quarter, an eighth or a sixteenth of all images are distinct."""
    return images[torch.arange(len(images)) % (len(images) >> level)]


def swapped(images: Tensor, level: int, labels: Tensor) -> Tensor:
    """1, 2, 4 or 8 times two patches, a quarter of the side each, are exchanged."""
    out, (height, width) = images.clone(), images.shape[2:]
    side, generator = min(height, width) // 4, generator_at("swap", level)
    for image in out:
        for _ in range(2 ** (level - 1)):
            ys = (torch.randint(height // side, (2,), generator=generator) * side).tolist()
            xs = (torch.randint(width // side, (2,), generator=generator) * side).tolist()
            one, two = (image[:, y : y + side, x : x + side] for y, x in zip(ys, xs, strict=True))
            saved = one.clone()
            one.copy_(two)
            two.copy_(saved)
    return out


Damage = Callable[[Tensor, int, Tensor], Tensor]
DAMAGES: dict[str, Damage] = {
    "blur": blurred, "noise": noisy, "dropped classes": without_classes, "duplicates": repeated,
    "swapped patches": swapped,
}  # fmt: skip


def measured(data: Dataset, features: str, count: int) -> dict[str, Any]:
    """Every kind of damage at every level, by one net."""
    _, net = feature_net(features, data)
    order = np.random.default_rng(0).permutation(data.train)
    real = extract(net, [data.records(order[:count])], to_net=data.sample.to_net)
    images, labels = data.records(order[count : 2 * count]), data.label_of(order[count : 2 * count])
    assert labels is not None

    def metrics(records: Tensor) -> dict[str, float]:
        found = extract(net, [records], to_net=data.sample.to_net)
        return measure(real, found, metrics=("kid", "fid", "coverage"))

    found: dict[str, Any] = {"net": net.describe}
    for name, damage in DAMAGES.items():
        levels = [metrics(images), *(metrics(damage(images, level, labels)) for level in LEVELS)]
        found[name] = {
            **{f"{what}_order": ranked(levels, what) for what in ("kid", "fid", "coverage")},
            "kid_noticed": noticed(levels, lambda a, b: math.hypot(a["kid_se"], b["kid_se"]), "kid"),
            "coverage_noticed": noticed(levels, lambda a, b: spread(a, b, count), "coverage"),
            "kid": [round(level["kid"], 6) for level in levels],
            "coverage": [round(level["coverage"], 4) for level in levels],
        }
    return found


def ranked(levels: list[dict[str, float]], what: str) -> float:
    """1 where every level is worse than the one before."""
    sign = -1 if what == "coverage" else 1
    return round(float(spearmanr(range(len(levels)), [sign * level[what] for level in levels]).statistic), 3)


def spread(a: Mapping[str, float], b: Mapping[str, float], count: int) -> float:
    return math.sqrt(sum(each["coverage"] * (1 - each["coverage"]) / count for each in (a, b)))


def noticed(levels: list[dict[str, float]], error: Callable[..., float], what: str) -> int | None:
    """The first level that differs from the undamaged images by more than twice the error; None: not even the last."""
    undamaged = levels[0]
    differs = [abs(level[what] - undamaged[what]) > 2 * error(level, undamaged) for level in levels[1:]]
    return next((level for level, differ in zip(LEVELS, differs, strict=True) if differ), None)


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
        assert data.labels is not None, f"{spec}: has no labels"
        of_data = found[data.name] = {"count": options.count, "fingerprint": data.fingerprint, "nets": {}}
        for features in options.features:
            of_data["nets"][features] = measured(data, features, options.count)
            if features == "self":
                plain = dataclasses.replace(data, fingerprint=data.fingerprint + "-plain", classes=[])
                of_data["nets"]["self, without labels"] = measured(plain, features, options.count)
        for net, damages in of_data["nets"].items():
            orders = {name: damages[name]["kid_order"] for name in DAMAGES}
            print(f"{data.name}, {net}: {orders}", flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
