"""Runs made with the command line, as users make them, and the numbers that the benchmarks keep of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mulligan as mg

MULLIGAN = [sys.executable, "-m", "mulligan"]


def mulligan(*words: Any) -> Any:
    """The output of a command with `--json`."""
    order = [*MULLIGAN, *map(str, words), "--json"]
    return json.loads(subprocess.run(order, check=True, stdout=subprocess.PIPE).stdout)


def budget_of(minutes: float, images: int | None) -> list[Any]:
    """Options for a budget in minutes; or in images, for a machine that is busy with other work."""
    return ["--samples", images] if images else ["--minutes", minutes]


def whole(run: mg.Run) -> mg.Run:
    """The run, if it was not interrupted. An interrupt also ends the benchmark, before the run is written down."""
    if run.summary["status"] == "interrupted":
        raise SystemExit("interrupted; the same command continues from here")
    return run


def sampled(run: Path, count: int, out: Path) -> Path:
    """Write `count` samples of the best checkpoint, seed 1."""
    order = [*MULLIGAN, "sample", str(run), "-n", str(count), "--seed", "1", "--out", str(out)]
    subprocess.run(order, check=True, stdout=subprocess.PIPE)
    return out


def trained(data: str | Path, budget: list[Any], run: Path, seed: int = 0, *more: Any) -> dict[str, Any]:
    """Train into the folder `run`. Returns its speed and memory, its own metrics, and what was chosen."""
    summary = mulligan("train", data, *budget, "--seed", seed, "--out", run, *more)
    evaluation = mulligan("evaluate", run, "--metrics", "quality")
    described = json.loads((run / "run.json").read_text())
    return {
        "images_seen": summary["samples_seen"],
        "seconds": summary["seconds"],
        "images_per_second": summary["samples_per_second"],
        "peak_memory_bytes": summary["peak_memory_bytes"],
        "own_metrics": {key: round(value, 4) for key, value in evaluation["metrics"].items()},
        "own_features": evaluation["protocol"]["features"],
        "threads": described["environment"]["threads"],
        "chosen": [choice["settings"] for choice in described["chosen"]],
    }


def called(recipe: str, settings: Mapping[str, Any]) -> str:
    """The name of a trial: the recipe, and the settings that differ from it."""
    return " ".join([recipe, *(f"{path}={value}" for path, value in settings.items())])
