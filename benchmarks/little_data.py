"""Few images, with and without augmentation: held-out quality, and whether augmentation shows in the samples.

    python benchmarks/little_data.py [--signs signs.zip] [--images 60000] [--counts 200 1000 4500] [--seeds 0]

Subsets of `digits` (unconditional would blur the comparison: by class, as the recipe has it) are judged by the 500
held-out digits in the features of `digits`; subsets of the hand signs, 32x32, by the held-out signs in the features of
`random`. Samples: as many as reals, best checkpoint, guard off.

Leak: each sample's nearest neighbour is looked for among the training images and as many augmented ones; the share
whose neighbour is augmented, beside the same share for held-out images, which nobody augmented. Writes
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
from mulligan.augment.operations import Dice, augment
from mulligan.augment.parts import Augmentation
from mulligan.core import registry
from mulligan.core.batch import to_float, to_uint8
from mulligan.core.recipe import Part
from mulligan.data import ImageData, open_data
from mulligan.measure.judge import Judge
from mulligan.metrics.protocol import extract
from mulligan.runs.build import load_parts
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


def subset(data: ImageData, count: int, path: Path) -> None:
    """Training images of a data set, as many of each class, as an .npz."""
    labels = data.labels[data.train]
    order = np.concatenate([data.train[labels == each][: count // len(data.classes)] for each in np.unique(labels)])
    images = data.images(order).permute(0, 2, 3, 1).numpy()
    np.savez(path, images=images, labels=np.array(data.classes)[data.labels[order]])


def augmented(images: Tensor, part: Augmentation) -> Tensor:
    """uint8 images as D is shown them at full strength."""
    dice = Dice(0, 1.0, len(images), len(images), images.device)
    return to_uint8(augment(to_float(images), part.operations, dice))


def nearest_is_augmented(features: Tensor, plain: Tensor, changed: Tensor) -> float:
    near = [torch.cdist(features, side).min(1).values for side in (plain, changed)]
    return (near[1] < near[0]).double().mean().item()


def trial(data: ImageData, judge: Judge, few: Path, augment: Any, images: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run = mg.train(
            few, out=folder, images=images, seed=seed, settings={"augment": augment}, features=judge.protocol.features,
            guard="off", quiet=True,
        )  # fmt: skip
        counts = whole(run).description["data"]["class_counts"] if run.classes else ()
        found = judge.measure(run.G, class_counts=counts)
        part = Part.read(augment).build(registry.augmentations)
        if part.operations:
            seen = open_data(few)
            real = seen.images(seen.train)
            plain, changed, heldout, fake = (
                extract(judge.net, [x])
                for x in (real, augmented(real, part), data.images(data.heldout), run.sample(len(real)))
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
