"""Does synthetic data help a classifier of few labels? `mulligan study` on digits, and on hand signs.

    python benchmarks/synthetic.py [--counts 20 50 100 450] [--signs signs.zip] [--images 60000] [--seeds 5]

For each count of labelled digits in a class: a GAN is trained on these alone. `study` then measures what its samples
add for a classifier of the same images, tested on digits that neither has seen. Hand signs: all of them, 32x32, tested
on held-out ones. Writes benchmarks/results/synthetic.json after each study; studies that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import mulligan as mg
from little_data import subset
from mulligan.data import open_data
from runs import whole

RESULTS = Path(__file__).parent / "results" / "synthetic.json"


def studied(data: str | Path, test: str | None, options: argparse.Namespace, **read: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = mg.train(data, out=Path(folder, "run"), samples=options.images, guard="off", quiet=True, read=read)
        return mg.study(whole(run), test=test, seeds=options.seeds, steps=options.steps, quiet=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--counts", type=int, nargs="*", default=[20, 50, 100, 450])
    arguments.add_argument("--signs")
    arguments.add_argument("--images", type=int, default=60_000)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=400)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def keep(name: str, result: dict[str, Any]) -> None:
        found[name] = result | {"gan_images": options.images}
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        arms = {arm: round(of_arm["accuracy"], 4) for arm, of_arm in result["arms"].items()}
        print(f"{name}: {json.dumps(arms)} best {result['best']}", flush=True)

    digits = open_data("digits")
    for count in options.counts:
        if (name := f"digits, {count} labels a class") not in found:
            with tempfile.TemporaryDirectory() as folder:
                few = Path(folder, "few.npz")
                subset(digits, 10 * count, few)
                keep(name, studied(few, "digits", options))
    if options.signs and "hand signs" not in found:
        keep("hand signs", studied(options.signs, None, options, labels=True, size=32))


if __name__ == "__main__":
    main()
