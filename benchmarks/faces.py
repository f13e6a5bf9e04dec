"""Half an hour of `mulligan train faces64.zip` on two cores: Mulligan's own metrics, and a picture of samples.

    python benchmarks/faces.py faces64.zip [--minutes 30] [--images N] [--seeds 0]

`--images` gives the budget in images, for a machine that is busy: the number that a quiet machine sees in that time.
The best checkpoint is compared with the held-out images. The features are those of `random`, a fixed net that was not
trained. Writes benchmarks/results/faces-MINUTESmin.json, and a grid of samples for each seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from runs import budget_of, sampled, trained

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("faces", type=Path)
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--images", type=int)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = arguments.parse_args()
    name = RESULTS / f"faces-{options.minutes:g}min.json"
    found = json.loads(name.read_text()) if name.exists() else {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder, "run")
            found[f"seed {seed}"] = trained(options.faces, budget_of(options.minutes, options.images), run, seed)
            sampled(run, 64, name.with_name(f"{name.stem}-seed{seed}.png"))
        print(json.dumps(found[f"seed {seed}"], indent=2), flush=True)
        name.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
