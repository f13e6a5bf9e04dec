"""Digits made whole: how near to what they were, and whether they still read as the digit that they are.

    python benchmarks/restoration.py [--minutes 10] [--images N] [--tasks hole noise small] [--seed 0]

Held-out digits with a hole of 14x14, noise of sigma 0.5, or four times too small. Each is restored by `restore`, by the
same generator where likeness is all that counts (an L1 so heavy that D's word is lost in it: Adam does not mind the
scale), by what people use without learning, as far as it is installed (scikit-image, OpenCV), and by nobody. PSNR and
SSIM against the digit as it was; accuracy of the bundled classifier. `--images` gives the budget in images instead.
Writes benchmarks/results/restoration-MINUTESmin.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from runs import whole
from torch import Tensor

import mulligan.api as mg
from mulligan.api.pairs import psnr
from mulligan.core.batch import to_float, to_uint8
from mulligan.metrics.features.digits import digits
from mulligan.terms.sight import blurred
from mulligan.use.sample import CHUNK

RESULTS = Path(__file__).parent / "results"
TASKS: dict[str, dict[str, Any]] = {
    "hole": {"task": "inpaint", "task.masks": "boxes", "task.hole": 0.5, "task.centred": True},
    "noise": {"task": "denoise", "task.least": 0.5, "task.most": 0.5},
    "small": {"task": "superres", "task.scale": 4},
}
LIKENESS_ONLY = {"terms.l1.weight": 1e5}
Restored = Callable[[np.ndarray], np.ndarray]  # what is shown, (S, H, W) float in [0, 1], the mask last -> (H, W)


def ssim(made: Tensor, wanted: Tensor) -> Tensor:
    """Structural similarity of uint8 images (B, C, H, W), by a Gaussian of 1.5 pixels: (B,) (Wang 2004, eq. 13)."""
    x, y = made.double() / 255, wanted.double() / 255

    def mean(image: Tensor) -> Tensor:
        return blurred(image, 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return alike.flatten(1).mean(1)


def classical(task: str) -> dict[str, Restored]:
    """What is used without learning, of what is installed here."""
    found: dict[str, Restored] = {"as shown": lambda seen: seen[0]}
    try:
        from skimage.restoration import denoise_nl_means, inpaint_biharmonic

        if task == "noise":
            found["non-local means"] = lambda seen: denoise_nl_means(
                seen[0], patch_size=5, patch_distance=6, h=0.2, sigma=0.25
            )  # sigma: 0.5 where white is 1 and black -1
        if task == "hole":
            found["biharmonic"] = lambda seen: inpaint_biharmonic(seen[0], seen[1] > 0.75)
    except ImportError:
        print("scikit-image is not installed: no non-local means, no biharmonic inpainting")
    try:
        import cv2

        if task == "hole":

            def telea(seen: np.ndarray) -> np.ndarray:
                grey, hole = (seen[0] * 255).astype(np.uint8), (seen[1] > 0.75).astype(np.uint8)
                return cv2.inpaint(grey, hole, 3, cv2.INPAINT_TELEA) / 255

            found["Telea"] = telea
    except ImportError:
        print("OpenCV is not installed: no inpainting by Telea")
    if task == "small":
        found["bicubic"] = found.pop("as shown")
    return found


def scores(made: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    """uint8 (N, 1, 28, 28) both, labels (N,)."""
    right = torch.cat([digits().classify(to_float(some)) for some in made.split(500)]) == labels
    found = {"psnr": psnr(made, wanted), "ssim": ssim(made, wanted), "accuracy": right}
    return {name: round(value.double().mean().item(), 4) for name, value in found.items()}


def compare(task: str, budget: dict[str, Any], seed: int) -> dict[str, dict[str, float]]:
    """Every way of restoring, by name."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, more in (("restore", {}), ("likeness only", LIKENESS_ONLY)):
            run = mg.train(
                "digits", out=Path(folder, name), settings=TASKS[task] | more, seed=seed, quiet=True, **budget
            )
            run = mg.load(whole(run).path, which="last")  # KID, by which the best is found, is no measure of likeness
            pairs = run.pairs
            count = len(pairs.apart)
            labels = pairs.data.label_of(pairs.apart)
            dealt = [pairs.heldout(CHUNK, start) for start in range(0, count, CHUNK)]
            wanted = to_uint8(torch.cat([batch.real for batch in dealt])[:count])
            found[name] = scores(run.sample(count), wanted, labels) | {"images_seen": run.summary["images_seen"]}
        shown = ((torch.cat([batch.cond for batch in dealt])[:count] + 1) / 2).numpy()
    for name, restored in classical(task).items():
        made = np.stack([np.clip(restored(seen), 0, 1) for seen in shown])
        found[name] = scores(to_uint8(torch.from_numpy(made).float()[:, None] * 2 - 1), wanted, labels)
    return found | {"as they were": scores(wanted, wanted, labels)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--images", type=int)
    arguments.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    budget = {"images": options.images} if options.images else {"minutes": options.minutes}
    out = options.out or RESULTS / f"restoration-{options.minutes:g}min.json"
    found = json.loads(out.read_text()) if out.exists() else {}
    for task in options.tasks:
        found[task] = compare(task, budget, options.seed)
        print(task, json.dumps(found[task], indent=2), flush=True)
        out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
