"""What the guard costs, as a share of the training time: its numbers in each step, its checks of rows and evaluations.

    python benchmarks/guard_cost.py

Each step is taken twice, with the numbers and without; which comes first alternates. The share is the median over such
pairs, with the standard error of a median. Writes benchmarks/results/guard_cost.json.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mulligan.data import open_data
from mulligan.engine import turn
from mulligan.engine.detectors import diagnose, history_of
from mulligan.engine.device import device_setting
from mulligan.engine.loop import State, play_step
from mulligan.engine.memory import keep_freed_memory
from mulligan.engine.probes import memorised, noise_response
from mulligan.runs.build import build_game, recipe_named

RESULTS = Path(__file__).parent / "results" / "guard_cost.json"
SECONDS = 40.0  # of pairs of steps
SAMPLES, ROWS, EVALUATIONS = 250_000, 400, 21  # of a usual run, for what is done once per row or evaluation


def seconds(action: Callable[[], object], spend: float) -> float:
    """Of one call: the mean over as many calls as fit into the time."""
    action()
    begun, calls = time.perf_counter(), 0
    while time.perf_counter() - begun < spend:
        action()
        calls += 1
    return (time.perf_counter() - begun) / calls


def row(samples: int) -> dict[str, object]:
    numbers = dict.fromkeys(("d/wins", "spread/real", "spread/fake", "d/gradient", "g/gradient"), 0.5)
    return {"kind": "progress", "attempt": 0, "step": samples // 64, "samples": samples, **numbers}


def evaluation(samples: int) -> dict[str, object]:
    numbers = dict.fromkeys(("kid", "kid_se", "coverage", "recall", "precision", "d/memory", "g/noise"), 0.5)
    return {"kind": "metric", "attempt": 0, "step": samples // 64, "samples": samples, **numbers}


def cost(recipe: str, settings: dict[str, object]) -> dict[str, float]:
    game = build_game(
        recipe_named(recipe, settings), open_data("digits"), seed=0, setting=device_setting("cpu", "fp32")
    )
    state = State()
    measuring = {name: getattr(turn, name) for name in ("wins", "spread", "gradient_norm")}
    nothing = torch.zeros(1)
    silent = dict.fromkeys(measuring, lambda *_: nothing)

    def step(functions: dict[str, Callable]) -> float:
        for name, function in functions.items():
            setattr(turn, name, function)
        begun = time.perf_counter()
        play_step(game, state, 1 << 30)
        return time.perf_counter() - begun

    pairs: list[tuple[float, float]] = []
    with keep_freed_memory():
        begun = time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            if state.step % 2:
                without, with_numbers = step(silent), step(measuring)
            else:
                with_numbers, without = step(measuring), step(silent)
            pairs.append((with_numbers, without))
            state.step += 1
    shares = sorted(a / b - 1 for a, b in pairs[5:])
    deviation = statistics.quantiles(shares, n=100)[83] - statistics.quantiles(shares, n=100)[15]  # of two deviations
    without = statistics.median(b for _, b in pairs[5:])
    rows = [row(SAMPLES * i // ROWS) for i in range(ROWS)]
    rows += [evaluation(SAMPLES * i // EVALUATIONS) for i in range(EVALUATIONS)]
    history = history_of(rows, SAMPLES)
    reading = ROWS * seconds(lambda: diagnose(history), 0.5)
    evaluating = EVALUATIONS * seconds(lambda: (memorised(game), noise_response(game)), 0.5)
    training = SAMPLES / game.batch * without
    parts = {
        "numbers in every step": statistics.median(shares),
        "reading every row": reading / training,
        "beyond the metrics at every look": evaluating / training,
    }
    parts |= {"together": sum(parts.values()), "error": 1.25 * deviation / 2 / len(shares) ** 0.5}
    return {name: round(share, 5) for name, share in parts.items()}


def main() -> None:
    found = {
        "digits": cost("digits", {}),
        "dcgan, batch 32": cost("dcgan", {}),
        "dcgan, batch 256": cost("dcgan", {"batch": 256}),
    }
    print(json.dumps(found, indent=2))
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
