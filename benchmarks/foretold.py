"""What `--dry-run` predicts of a run with a budget in minutes, and what is measured: images, time and memory.

    python benchmarks/foretold.py digits signs.zip faces64.zip [--minutes 2]

No recipe is named, so the networks and all other settings are chosen. Needs a quiet machine: a change of speed during
the run cannot be predicted. Writes benchmarks/results/foretold.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from runs import mulligan

RESULTS = Path(__file__).parent / "results" / "foretold.json"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", nargs="+")
    arguments.add_argument("--minutes", type=float, default=2)
    options = arguments.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for data in options.data:
        order = ["train", data, "--minutes", options.minutes]
        predicted = mulligan(*order, "--dry-run")
        with tempfile.TemporaryDirectory() as folder:
            measured = mulligan(*order, "--out", Path(folder, "run"))
        pairs = {
            "images": (predicted["budget_samples"], measured["samples_seen"]),
            "minutes": (predicted["predicted_minutes"], measured["seconds"] / 60),
            "memory_mb": (predicted["predicted_memory_mb"], measured["peak_memory_bytes"] / 2**20),
        }
        found[Path(data).stem] = {
            what: {"foretold": before, "came": round(after, 2), "ratio": round(after / before, 3)}
            for what, (before, after) in pairs.items()
        }
        print(data, json.dumps(found[Path(data).stem]), flush=True)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
