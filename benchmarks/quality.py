"""The quality that some minutes of `mulligan train digits` reach, measured by a classifier that is not in Mulligan.

    python benchmarks/quality.py --mnist DIR [--minutes 5] [--seeds 0 1 2] [--data digits]

`--data mnist`: trains on MNIST's training set without the 10,000 images that samples are compared with. `--images`
gives the budget in images, for a machine that is busy: the number that a quiet machine sees in that time. Samples:
10,000 of the best checkpoint, seed 1; `fid_of_5000` compares the first half of both sets. Writes
benchmarks/results/quality-DATA-MINUTESmin.json after each seed, and a grid of samples for each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_judge import MnistJudge, add_options
from mulligan.data import open_data
from runs import budget_of, sampled, trained

RESULTS = Path(__file__).parent / "results"
COUNT, HALF = 10_000, 5_000  # samples; MNIST's test set also has 10,000


def mnist_without(judge: MnistJudge, folder: str, path: Path) -> None:
    """MNIST's training set without the reference images, as an .npz with labels."""
    data = open_data(folder)
    images = data.records(judge.usable).permute(0, 2, 3, 1).numpy()
    np.savez(path, images=images, labels=data.label_of(judge.usable).numpy())


def scored(judge: MnistJudge, images: Tensor) -> dict[str, float]:
    return judge.score(images) | {"fid_of_5000": judge.score(images[:HALF])["fid"]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(arguments)
    arguments.add_argument("--data", choices=("digits", "mnist"), default="digits")
    arguments.add_argument("--minutes", type=float, default=5)
    arguments.add_argument("--images", type=int)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = arguments.parse_args()
    judge = MnistJudge(options, COUNT)
    name = RESULTS / f"quality-{options.data}-{options.minutes:g}min.json"
    found = json.loads(name.read_text()) if name.exists() else {}
    found |= {
        "protocol": judge.protocol,
        "judge_accuracy": round(judge.accuracy, 4),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "real": scored(judge, judge.others),
        "shipped digits": scored(judge, judge.shipped),
    }
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run, data = Path(folder, "run"), "digits"
            if options.data == "mnist":
                data = f"{folder}/mnist.npz"
                mnist_without(judge, options.mnist, Path(data))
            of_run = trained(data, budget_of(options.minutes, options.images), run, seed)
            sampled(run, 100, RESULTS / f"{name.stem}-seed{seed}.png")
            samples = np.load(sampled(run, COUNT, Path(folder, "samples.npz")))["images"]
        found[f"seed {seed}"] = scored(judge, torch.from_numpy(samples).permute(0, 3, 1, 2)) | of_run
        print(json.dumps(found[f"seed {seed}"], indent=2), flush=True)
        before = json.loads(name.read_text()) if name.exists() else {}  # another process may have added a seed
        name.write_text(json.dumps(found | before | {f"seed {seed}": found[f"seed {seed}"]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
