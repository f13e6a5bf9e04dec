"""How many of the 1,000 modes of stacked digits are among the samples of a run.

    python benchmarks/stacked.py [--recipe digits] [--minutes 10 | --images N] [--seed 0] [--run RUN]

`mulligan train stacked`, then 26,000 samples of the best checkpoint, the number that papers take (Metz 2016, arXiv
1611.02163; Lin 2018, arXiv 1712.04086), compared with 26,000 training images. --run: a run that was trained before.
Writes benchmarks/results/stacked.json and a grid of samples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

import mulligan as mg
from runs import budget_of, mulligan, sampled

RESULTS = Path(__file__).parent / "results"
SAMPLES = 26_000


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--recipe", default="digits")
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--images", type=int)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--run", type=Path)
    options = arguments.parse_args()
    path = RESULTS / "stacked.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        place = options.run or Path(folder, "run")
        if options.run is None:
            budget = budget_of(options.minutes, options.images)
            mulligan("train", "stacked", "--recipe", options.recipe, *budget, "--seed", options.seed, "--out", place)
        run = mg.load(place)
        data = run.open_data()
        samples = torch.cat([made for made, _ in run.draw(SAMPLES, seed=1)])
        rows = data.train[np.linspace(0, len(data.train) - 1, SAMPLES).astype(int)]
        found["training data"] = rounded(data.modes.count(data.records(rows), None))
        summary = run.summary
        name = f"{run.recipe.name}, seed {run.description['seed']}"
        found[name] = rounded(data.modes.count(samples, None)) | {
            "images": summary["samples_seen"],
            "images_per_second": round(summary["samples_per_second"], 1),
            "threads": run.description["environment"]["threads"],
            "guard": run.description["asked"]["guard"],
        }
        sampled(place, 64, RESULTS / f"stacked-{run.recipe.name}.png")
    path.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
