"""A run as a user makes it, by the command line, and what the benchmarks keep of it."""

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
    """What a command says with `--json`."""
    order = [*MULLIGAN, *map(str, words), "--json"]
    return json.loads(subprocess.run(order, check=True, stdout=subprocess.PIPE).stdout)


def budget_of(minutes: float, images: int | None) -> list[Any]:
    """Minutes; or, for a machine that is busy, the images that they last for in quiet."""
    return ["--images", images] if images else ["--minutes", minutes]


def whole(run: mg.Run) -> mg.Run:
    """The run, if it is over: an interrupt that ended it has to end the benchmark too, with nothing written of it."""
    if run.summary["status"] == "interrupted":
        raise SystemExit("interrupted; the same command goes on from here")
    return run


def sampled(run: Path, count: int, out: Path) -> Path:
    """`count` samples of seed 1 of the best checkpoint."""
    order = [*MULLIGAN, "sample", str(run), "-n", str(count), "--seed", "1", "--out", str(out)]
    subprocess.run(order, check=True, stdout=subprocess.PIPE)
    return out


def trained(data: str | Path, budget: list[Any], run: Path, seed: int = 0, *more: Any) -> dict[str, Any]:
    """Train into the folder `run`; how it went, its own metrics, and what was chosen."""
    summary = mulligan("train", data, *budget, "--seed", seed, "--out", run, *more)
    evaluation = mulligan("evaluate", run, "--metrics", "quality")
    described = json.loads((run / "run.json").read_text())
    return {
        **{key: summary[key] for key in ("images_seen", "seconds", "images_per_second", "peak_memory_bytes")},
        "own_metrics": {key: round(value, 4) for key, value in evaluation["metrics"].items()},
        "own_features": evaluation["protocol"]["features"],
        "threads": described["environment"]["threads"],
        "chosen": [choice["settings"] for choice in described["chosen"]],
    }


def called(recipe: str, settings: Mapping[str, Any]) -> str:
    """A recipe, and what is set otherwise in it: numbers of one are not those of another."""
    return " ".join([recipe, *(f"{path}={value}" for path, value in settings.items())])
