"""Inversion of held-out digits in the latent space of a run: how near the results are, how fast, and of which class.

    python benchmarks/inversion.py [--run RUN | --images 590016] [--seed 2] [--count 100]

Uses `mulligan invert` with its defaults, on one thread: with and without the encoder; and with incomplete digits, which
have a hole of 14x14 in the middle or are four times too small, compared with simple methods (a hole filled with the
background, bicubic enlargement). PSNR is of 8-bit images, over all pixels; perceptual distance is by the net that the
search uses. `same class`: the bundled digit net reads the same digit in the result and in the original; the search does
not use that net. Trains `digits` first if no run is given. Writes benchmarks/results/inversion.json and inversion.png
with 24 of the digits; the rows are: original, inverted; with the hole, filled; made small, enlarged.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import mulligan.api as mg
from mulligan.core.batch import to_float, to_uint8
from mulligan.core.run import write_json
from mulligan.latent.film import save_film
from mulligan.metrics.features.digits import digits
from mulligan.metrics.pictures import psnr
from runs import whole

RESULTS = Path(__file__).parent / "results"
HOLE, SMALLER = 14, 4
SETTINGS = {"task": "by-class", "terms.r2": {"weight": 0.5, "every": 8}}
DISPLAYED = 24


def classes(images: Tensor) -> Tensor:
    return digits().classify(to_float(images))


def numbers(made: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    """uint8 (N, 1, 28, 28) both, labels (N,)."""
    decibels, read = psnr(made, wanted), classes(made)
    tenth, middle = np.quantile(decibels.numpy(), [0.1, 0.5])
    return {
        "psnr_median": round(float(middle), 2),
        "psnr_mean": round(decibels.mean().item(), 2),
        "psnr_tenth": round(float(tenth), 2),
        "same_class": round((read == classes(wanted)).double().mean().item(), 4),
        "right_class": round((read == labels).double().mean().item(), 4),
    }


def found(run: mg.Run, wanted: Tensor, labels: Tensor, known: Tensor, holes: Tensor | None = None, **how: Any) -> Any:
    """Numbers, and the images."""
    started = time.monotonic()
    finder = mg.LatentFinder(run, **how)
    ready = time.monotonic()
    (answer,) = finder(known, holes)
    seconds = (time.monotonic() - ready) / len(wanted)
    row = numbers(answer.images, wanted, labels) | {
        "told_class_right": round((answer.latents.classes == labels).double().mean().item(), 4),
        "perceptual_of_known": round(answer.perceptual.mean().item(), 4),
        "psnr_of_known_median": round(answer.psnr.median().item(), 2),
        "seconds_per_image": round(seconds, 3),
        "seconds_before": round(ready - started, 2),
    }
    return row, answer.images


def measure(run: mg.Run, count: int, seed: int, out: Path) -> dict[str, Any]:
    data = run.open_data()
    rows = data.heldout[:: max(1, len(data.heldout) // count)][:count]
    wanted, labels = data.records(rows).contiguous(), data.label_of(rows)
    holes = torch.zeros(len(rows), 1, *wanted.shape[2:], dtype=torch.bool)
    edge = (wanted.shape[2] - HOLE) // 2
    holes[:, :, edge : edge + HOLE, edge : edge + HOLE] = True
    small = mg.LatentFinder(run, shrink=SMALLER, search=mg.SearchSettings(draws=1)).made_small(wanted)
    table: dict[str, Any] = {"as they were": numbers(wanted, wanted, labels)}
    pictures = {}

    def note(name: str, known: Tensor = wanted, holes: Tensor | None = None, **how: Any) -> None:
        table[name], pictures[name] = found(run, wanted, labels, known, holes, seed=seed, **how)
        print(name, json.dumps(table[name]), flush=True)

    note("whole")
    note("whole, with an encoder (taught before)", encoder=True)
    if table["whole, with an encoder (taught before)"]["seconds_before"] > 5:  # it was trained just now
        table["seconds to teach the encoder"] = table["whole, with an encoder (taught before)"]["seconds_before"]
    note("whole, the encoder alone", encoder=True, search=mg.SearchSettings(steps=0, starts=1))
    note("whole, pixels alone", search=mg.SearchSettings(perceptual=0.0))
    note("hole", wanted, holes)
    note("small", small, shrink=SMALLER)
    filled = torch.where(holes, wanted.min(), wanted)
    table["hole, filled with the ground"] = numbers(filled, wanted, labels)
    large = F.interpolate(to_float(small), size=wanted.shape[2:], mode="bicubic", align_corners=False)
    table["small, bicubic"] = numbers(to_uint8(large), wanted, labels)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:DISPLAYED])  # of all classes
    pixelated = F.interpolate(small.float(), size=wanted.shape[2:], mode="nearest").to(torch.uint8)
    rows_of = [wanted, pictures["whole"], torch.where(holes, 128, wanted).to(torch.uint8), pictures["hole"], pixelated,
             pictures["small"]]  # fmt: skip
    save_film(out.with_suffix(".png"), torch.cat([each[order] for each in rows_of]), fps=1, columns=len(order))
    return table


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", type=Path)
    arguments.add_argument("--images", type=int, default=590_016)
    arguments.add_argument("--seed", type=int, default=2)
    arguments.add_argument("--count", type=int, default=100)
    arguments.add_argument("--out", type=Path, default=RESULTS / "inversion.json")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.run is None:
            trained = mg.train(
                "digits", out=Path(folder) / "run", samples=options.images, seed=options.seed, settings=SETTINGS
            )
            options.run = whole(trained).path
        run = mg.load(options.run, device="cpu")
        table = measure(run, options.count, options.seed, options.out)
        protocol = {
            "run": run.description["command"] or f"trained here, seed {options.seed}",
            "images_seen": run.checkpoint.state["samples"],
            "held_out_digits": options.count, "seed": options.seed, "search": vars(mg.SearchSettings()), "threads": 1,
            "torch": torch.__version__, "device": "cpu",
        }  # fmt: skip
    write_json(options.out, {"protocol": protocol, "results": table})


if __name__ == "__main__":
    main()
