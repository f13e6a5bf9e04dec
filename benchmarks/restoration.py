"""Restoration: how near images come to the originals, how sharp they are, and whether digits are still recognised.

    python benchmarks/restoration.py [--data digits] [--size N] [--tasks hole noise small] [--minutes 10] [--images N]

Held-out images with a hole of half their side, with noise of sigma 0.5, or four times too small. Each is restored by
`restore`; by the same generator trained for similarity only (with an L1 weight so high that the adversarial loss has no
effect; Adam does not depend on the scale); and by classical methods (scikit-image, OpenCV: the extra `bench`).

PSNR and SSIM against the original; `perceptual`, the distance by the maps of a net (of the bundled classifier for
digits; of `random`, which is weak, for other data); `sharpness`, the mean difference of neighbouring pixels over that
of the original, inside the hole where there is one; for digits, the accuracy of the bundled classifier. `--images`
gives the budget in images. Writes benchmarks/results/restoration-DATA.json and, for digits, a picture for each task.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage.restoration import denoise_nl_means, inpaint_biharmonic
from torch import Tensor

import mulligan.api as mg
from mulligan.core import registry
from mulligan.core.batch import to_float, to_uint8
from mulligan.core.condition import Condition
from mulligan.engine.sampling import CHUNK
from mulligan.kinds.pictures import grid
from mulligan.metrics.features.digits import digits
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.pictures import perceptual_distance, psnr, ssim
from runs import whole

RESULTS = Path(__file__).parent / "results"
TASKS: dict[str, dict[str, Any]] = {
    "hole": {"task": "inpaint", "task.masks": "boxes", "task.hole": 0.5, "task.centred": True},
    "noise": {"task": "denoise", "task.least": 0.5, "task.most": 0.5},
    "small": {"task": "superres", "task.scale": 4},
}
SIMILARITY_ONLY = {"terms.l1.weight": 1e5}
MOST, DISPLAYED = 1_000, 12  # images that are measured, and in the picture
Restored = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # (H, W, C) in [0, 1], holes (H, W) -> (H, W, C)


def _by_channel(filled: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Restored:
    def all_channels(given: np.ndarray, holes: np.ndarray | None) -> np.ndarray:
        assert holes is not None
        channels = (given * 255).round().astype(np.uint8).transpose(2, 0, 1)
        return np.stack([filled(each, holes.astype(np.uint8)) for each in channels], 2) / 255

    return all_channels


CLASSICAL: dict[str, dict[str, Restored]] = {
    "hole": {
        "biharmonic": lambda given, holes: inpaint_biharmonic(given, holes, channel_axis=2),
        "Telea": _by_channel(lambda grey, holes: cv2.inpaint(grey, holes, 3, cv2.INPAINT_TELEA)),
        "Navier-Stokes": _by_channel(lambda grey, holes: cv2.inpaint(grey, holes, 3, cv2.INPAINT_NS)),
    },
    "noise": {  # sigma: 0.5 where white is 1 and black -1
        "as shown": lambda given, _: given,
        "non-local means": lambda given, _: np.stack(
            [  # the best of eight settings, found on training digits
                denoise_nl_means(each, patch_size=5, patch_distance=6, h=0.15, sigma=0.25, fast_mode=False)
                for each in np.moveaxis(given, 2, 0)
            ],
            axis=2,
        ),
    },
    "small": {"bicubic": lambda given, _: given},  # the condition of G
}


def sharpness(images: Tensor, holes: Tensor | None) -> Tensor:
    """Mean |difference| of neighbouring pixels, in all holes together if there are any: a scalar."""
    x = to_float(images)
    steps = x.diff(dim=2)[:, :, :, 1:].abs() + x.diff(dim=3)[:, :, 1:].abs()  # (N, C, H - 1, W - 1)
    if holes is None:
        return steps.mean()
    return (steps * holes[:, :, 1:, 1:]).sum() / (holes[:, :, 1:, 1:].sum() * x.shape[1])


class Score:
    """Metrics of restored images against the originals `wanted`, uint8 (N, C, H, W)."""

    def __init__(self, wanted: Tensor, labels: Tensor | None, holes: Tensor | None, net: FeatureNet) -> None:
        self.wanted, self.labels, self.holes, self.net = wanted, labels, holes, net

    @torch.inference_mode()
    def __call__(self, made: Tensor) -> dict[str, float]:
        pairs = list(zip(made.split(250), self.wanted.split(250), strict=True))
        found = {
            "psnr": psnr(made, self.wanted).mean(),
            "ssim": torch.cat([ssim(*pair) for pair in pairs]).mean(),
            "perceptual": torch.cat([perceptual_distance(self.net, *pair) for pair in pairs]).mean(),
            "sharpness": sharpness(made, self.holes) / sharpness(self.wanted, self.holes),
        }
        if self.labels is not None:
            read = torch.cat([digits().classify(to_float(some)) for some in made.split(500)])
            found["accuracy"] = (read == self.labels).double().mean()
        return {name: round(value.item(), 4) for name, value in found.items()}


def compare(data: str, read: dict[str, Any], task: str, budget: dict[str, Any], seed: int) -> tuple[dict, Tensor]:
    """The numbers of each method, by name, and a picture of the first few images."""
    restored: dict[str, Tensor] = {}
    images_seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, more in (("restore", {}), ("likeness only", SIMILARITY_ONLY)):
            run = mg.train(
                data, out=Path(folder, name), settings=TASKS[task] | more, seed=seed, quiet=True, read=read, **budget
            )
            run = mg.load(whole(run).path, which="last")  # KID, which chooses the best, does not measure similarity
            data_set = run.open_data()
            count = min(MOST, len(data_set.heldout))
            restored[name], images_seen[name] = run.sample(count), run.summary["samples_seen"]
    batches = [run.dealer.heldout(CHUNK, start) for start in range(0, count, CHUNK)]
    wanted = to_uint8(torch.cat([batch.real for batch in batches])[:count])
    cond = Condition.cat([batch.cond for batch in batches]).take(slice(count))
    given = ((cond["image"] + 1) / 2).permute(0, 2, 3, 1).numpy()
    holes = cond["mask"][:, 0].numpy() > 0.5 if task == "hole" else None
    for name, method in CLASSICAL[task].items():
        made = [method(each, None if holes is None else holes[i]) for i, each in enumerate(given)]
        restored[name] = to_uint8(torch.from_numpy(np.stack(made).clip(0, 1)).float().permute(0, 3, 1, 2) * 2 - 1)
    restored["as they were"] = wanted
    score = Score(
        wanted,
        data_set.label_of(run.dealer.task.order.heldout(count, 0)) if data == "digits" else None,
        None if holes is None else torch.from_numpy(holes)[:, None].float(),
        digits() if data == "digits" else registry.features["random"](),
    )
    numbers = {name: score(made) | {"images_seen": images_seen.get(name)} for name, made in restored.items()}
    return numbers, torch.cat([to_uint8(cond["image"][:DISPLAYED]), *(made[:DISPLAYED] for made in restored.values())])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="digits")
    arguments.add_argument("--size", type=int)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--images", type=int)
    arguments.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    budget = {"samples": options.images} if options.images else {"minutes": options.minutes}
    name = Path(options.data).stem
    out = RESULTS / f"restoration-{name}.json"
    found = json.loads(out.read_text()) if out.exists() else {}
    for task in options.tasks:
        read = {"size": options.size} if options.size else {}
        found[task], picture = compare(options.data, read, task, budget, options.seed)
        print(task, json.dumps(found[task], indent=2), flush=True)
        out.write_text(json.dumps(found, indent=2) + "\n")
        if name == "digits":  # other data may not be published
            grid(picture, columns=DISPLAYED).save(RESULTS / f"restoration-{name}-{task}.png")


if __name__ == "__main__":
    main()
