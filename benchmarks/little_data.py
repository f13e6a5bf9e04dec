"""Few images, with and without augmentation: quality on held-out images, and traces of augmentation in the samples.

    python benchmarks/little_data.py [--signs signs.zip] [--images 60000] [--counts 200 1000 4500] [--seeds 0]

Subsets of `digits`, by class as in the recipe, are compared with the 500 held-out digits in the features of `digits`;
subsets of the hand signs, 32x32, with the held-out signs in the features of `random`. As many samples as real images,
best checkpoint, guard off.

`leak`: the nearest neighbour of each sample is searched among the training images and as many augmented ones; the share
of samples whose neighbour is augmented. `leak_of_real`: the same for held-out images, which were not augmented. Writes
benchmarks/results/little_data.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import mulligan as mg
from mulligan.augment.operations import SampleRng, augment
from mulligan.augment.parts import AdaptiveAugmentation
from mulligan.core import registry
from mulligan.core.batch import to_float, to_uint8
from mulligan.core.recipe import Part
from mulligan.core.seeding import mix
from mulligan.data import Dataset, open_data
from mulligan.engine.sampling import ClassConditions
from mulligan.measure.judge import Judge
from mulligan.metrics.protocol import extract
from mulligan.runs.parts import load_parts
from runs import whole

RESULTS = Path(__file__).parent / "results" / "little_data.json"
VARIANTS: dict[str, Any] = {
    "none": "none",
    "diffaugment": "diffaugment",
    "ada": "ada",
    "ada without turns": {
        "name": "ada",
        "operations": ["shift", "scale", "stretch", "slide", "brightness", "contrast"],
    },
    "apa": "apa",
}


def subset(data: Dataset, count: int, path: Path) -> None:
    """Write some training images of a data set, equally many of each class, as an .npz."""
    labels = data.labels[data.train]
    order = np.concatenate([data.train[labels == each][: count // len(data.classes)] for each in np.unique(labels)])
    images = data.records(order).permute(0, 2, 3, 1).numpy()
    np.savez(path, images=images, labels=np.array(data.classes)[data.labels[order]])


def augmented(images: Tensor, part: AdaptiveAugmentation) -> Tensor:
    """uint8 images as D sees them at full strength."""
    rng = SampleRng(0, 1.0, len(images), len(images), images.device)
    return to_uint8(augment(to_float(images), part.operations, rng))


def nearest_is_augmented(features: Tensor, plain: Tensor, changed: Tensor) -> float:
    distances = [torch.cdist(features, others).min(1).values for others in (plain, changed)]
    return (distances[1] < distances[0]).double().mean().item()


def trial(data: Dataset, judge: Judge, few: Path, augment: Any, images: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run = mg.train(
            few, out=folder, samples=images, seed=seed, settings={"augment": augment}, features=judge.protocol.features,
            guard="off", quiet=True,
        )  # fmt: skip
        found = judge.measure(whole(run).G, ClassConditions(mix("judge", judge.protocol.seed), run.class_counts))
        part = Part.read(augment).build(registry.augmentations)
        if part.operations:
            trained_on = open_data(few)
            real = trained_on.records(trained_on.train)
            plain, changed, heldout, fake = (
                extract(judge.net, [x], to_net=data.sample.to_net)
                for x in (real, augmented(real, part), data.records(data.heldout), run.sample(len(real)))
            )
            found["leak"] = nearest_is_augmented(fake, plain, changed)
            found["leak_of_real"] = nearest_is_augmented(heldout, plain, changed)
        rows = list(run.folder.rows("progress"))
        found["strength"] = rows[-1]["augment"]
        return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--signs", type=Path)
    arguments.add_argument("--images", type=int, default=60_000)
    arguments.add_argument("--counts", type=int, nargs="*", default=[200, 1000, 4500])
    arguments.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = arguments.parse_args()
    torch.set_num_threads(1)
    load_parts()
    sets = [("digits", open_data("digits"), "digits", options.counts)]
    if options.signs:
        sets.append(("signs", open_data(options.signs, size=32, labels=True), "random", [200, 1_700]))
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, data, features, counts in sets:
        judge = Judge(data, features)
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                few = Path(folder) / "few.npz"
                subset(data, count, few)
                for variant in options.variants:
                    rows = [trial(data, judge, few, VARIANTS[variant], options.images, seed) for seed in options.seeds]
                    key = f"{name}, {count} images, {variant}"
                    found[key] = {
                        metric: round(statistics.mean(row[metric] for row in rows), 4) for metric in rows[0]
                    } | {"images": options.images, "seeds": options.seeds}
                    print(key, found[key], flush=True)
                    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
