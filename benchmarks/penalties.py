"""What gradient penalties cost in time, and what quality they give, on `digits`.

    python benchmarks/penalties.py [--images 60000] [--seeds 0 1] [--parts time quality]

Steps of all variants are timed in turn, in one process. A ratio is a variant's time over the time without a penalty in
the same round; its median over rounds is given. Quality: `mulligan train digits --samples N` with the variant; coverage
and KID of 500 samples of the best checkpoint against the 500 held-out digits, means over seeds. Writes
benchmarks/results/penalties.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import mulligan as mg
from mulligan.data import open_data
from mulligan.engine.device import device_setting
from mulligan.engine.loop import Game, State, play_step
from mulligan.engine.memory import keep_freed_memory
from mulligan.runs.build import build_game, recipe_named

RESULTS = Path(__file__).parent / "results" / "penalties.json"
GAMMA = 0.5
FIRST_ORDER = {"weight": GAMMA, "sigma": 0.01}
QUARTER = {**FIRST_ORDER, "share": 0.25}
VARIANTS: dict[str, dict[str, Any]] = {  # terms of D
    "no penalty": {},
    "R1 exact, every step": {"r1": {"weight": GAMMA}},
    "R1 exact, every 8th": {"r1": {"weight": GAMMA, "every": 8}},
    "R1 first-order, every step": {"r1": FIRST_ORDER},
    "R1 first-order, a quarter": {"r1": QUARTER},
    "R1 + R2 exact, every step": {"r1": {"weight": GAMMA}, "r2": {"weight": GAMMA}},
    "R1 + R2 exact, every 8th": {"r1": {"weight": GAMMA, "every": 8}, "r2": {"weight": GAMMA, "every": 8}},
    "R1 + R2 first-order, every step": {"r1": FIRST_ORDER, "r2": FIRST_ORDER},
    "R1 + R2 first-order, a quarter": {"r1": QUARTER, "r2": QUARTER},
}
ROUNDS, STEPS = 7, 48  # steps: a multiple of every `every`


def settings(terms: dict[str, Any]) -> dict[str, Any]:
    return {"terms.r1": "none"} | {f"terms.{name}": options for name, options in terms.items()}


def step_seconds(game: Game) -> float:
    state, begun = State(), time.perf_counter()
    for state.step in range(STEPS):
        play_step(game, state, 1 << 30)
    return (time.perf_counter() - begun) / STEPS


def timed() -> dict[str, dict[str, float]]:
    data, setting = open_data("digits"), device_setting("cpu", "fp32")
    games = {
        name: build_game(recipe_named("digits", settings(terms)), data, seed=0, setting=setting)
        for name, terms in VARIANTS.items()
    }
    with keep_freed_memory():
        for game in games.values():
            step_seconds(game)
        rounds = [{name: step_seconds(game) for name, game in games.items()} for _ in range(ROUNDS)]
    ratios = {name: [each[name] / each["no penalty"] for each in rounds] for name in VARIANTS}
    summary = {"step": statistics.median, "step_min": min, "step_max": max}
    return {name: {key: round(of(found), 3) for key, of in summary.items()} for name, found in ratios.items()}


def quality(terms: dict[str, Any], images: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run = mg.train(
            "digits", out=folder, samples=images, seed=seed, settings=settings(terms), guard="off", quiet=True
        )
        return run.evaluate()["metrics"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=60_000)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments.add_argument("--parts", nargs="+", choices=("time", "quality"), default=["time", "quality"])
    options = arguments.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {name: {} for name in VARIANTS}
    if "time" in options.parts:
        for name, ratios in timed().items():
            found[name] |= ratios
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    for name, terms in VARIANTS.items() if "quality" in options.parts else ():
        rows = [quality(terms, options.images, seed) for seed in options.seeds]
        means = {key: round(statistics.mean(row[key] for row in rows), 4) for key in ("coverage", "recall", "kid")}
        found[name] |= means | {"images": options.images, "seeds": options.seeds}
        print(name, found[name], flush=True)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
