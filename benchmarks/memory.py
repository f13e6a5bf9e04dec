"""Peak memory of training on `digits`, and on a folder of 100,000 images, which must not need more.

    python benchmarks/memory.py [--count 100000]

Writes benchmarks/results/memory.json. The folder contains random 28x28 PNG files and is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "memory.json"


def peak(data: str, cache: str, out: str) -> dict[str, float]:
    order = ["train", data, "--samples", "20000", "--out", out, "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "mulligan", *order],
        check=True, stdout=subprocess.PIPE, env={**os.environ, "MULLIGAN_CACHE": cache},
    )  # fmt: skip
    summary = json.loads(done.stdout)
    return {"peak_memory_mb": round(summary["peak_memory_bytes"] / 2**20), "images_seen": summary["samples_seen"]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=100_000)
    options = arguments.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        rng = np.random.default_rng(0)
        for index in range(options.count):
            Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(images / f"{index:06d}.png")
        for name, data in (("digits", "digits"), (f"folder of {options.count:,}", str(images))):
            found[f"{name}, first time"] = peak(data, f"{folder}/cache", f"{folder}/{len(found)}")
            found[f"{name}, cached"] = peak(data, f"{folder}/cache", f"{folder}/{len(found)}")
            print(json.dumps(found, indent=2), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
