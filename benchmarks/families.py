"""Which family of GANs is best at equal FLOPs: each sees as many images as the same number of operations allows.

    python benchmarks/families.py digits [cifar10-train.zip ...] [--only NAME ...] [--like 20000] [--seeds 0]

The budget is the number of operations that the recipe `digits` needs for `--like` images of the data set. Operations
are counted, forward and backward in both networks, over a whole period of all penalties. Everything else is as in the
recipes. Measured: the best checkpoint against held-out images, guard off. Writes benchmarks/results/families.json after
each trial; trials that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import mulligan as mg
from mulligan.core.recipe import Recipe
from mulligan.data import Dataset, open_data
from mulligan.engine.device import device_setting
from mulligan.engine.loop import State, play_step
from mulligan.runs.build import build_game, recipe_named
from runs import whole

RESULTS = Path(__file__).parent / "results" / "families.json"
FAMILIES = (
    "digits",
    "dcgan",
    "wgan-gp",
    "sngan-projection",
    "biggan",
    "stylegan2",
    "r3gan",
    "fastgan",
    "gat",
    "cat",
    "afm",
)
METRICS = ("kid", "kid_se", "fid", "coverage", "recall", "precision")


class Counter(TorchDispatchMode):
    """Counts operations inside the context. PyTorch's own counter fails in a double backward."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def flops_per_image(recipe: Recipe, data: Dataset) -> float:
    """Floating-point operations of a training step per image: the mean over a whole period of all penalties."""
    game = build_game(recipe, data, seed=0, setting=device_setting("cpu", "fp32"))
    steps = math.lcm(*(term.every for term in recipe.terms.values()), 1)
    state = State()
    with Counter() as counter:
        for _ in range(steps):
            play_step(game, state, budget=1 << 40)
            state.step += 1
    return counter.flops / (steps * game.batch * game.d_turns)


def trial(recipe: Recipe, spec: str, labels: bool, images: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = mg.train(
            spec, out=folder, recipe=recipe, samples=images, seed=seed, guard="off", quiet=True,
            read={"labels": labels},
        )  # fmt: skip
        found = whole(run).evaluate()
        metrics, summary = found["metrics"], run.summary
    return {name: round(metrics[name], 5) for name in METRICS} | {
        "images": summary["samples_seen"],
        "parameters": summary["parameters"],
        "by_class": bool(run.classes),
        "features": found["protocol"]["features"],
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", nargs="+")
    arguments.add_argument("--only", nargs="+", choices=FAMILIES, default=FAMILIES)
    arguments.add_argument("--like", type=int, default=20_000)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = arguments.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for spec in options.data:
        labels = spec.endswith(".zip")
        data = open_data(spec, labels=labels)
        budget = options.like * flops_per_image(recipe_named("digits"), data)
        of_data = found.setdefault(data.name, {"gigaflops": round(budget / 1e9), "like": options.like, "trials": {}})
        if of_data["like"] != options.like:
            raise SystemExit(
                f"{RESULTS}: trials on {data.name} were like {of_data['like']:,} images; remove them first"
            )
        for name in options.only:
            recipe = recipe_named(name)
            each = flops_per_image(recipe, data)
            for seed in options.seeds:
                key = f"{name}, seed {seed}"
                if key not in of_data["trials"]:
                    row = {"megaflops_per_image": round(each / 1e6, 1)}
                    row |= trial(recipe, spec, labels, max(1, round(budget / each)), seed)
                    of_data["trials"][key] = row
                    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
                    print(f"{data.name} {key}: {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
