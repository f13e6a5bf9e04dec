"""Pictures made whole: how near to what they were, how sharp, and whether digits still read as the digit they are.

    python benchmarks/restoration.py [--data digits] [--size N] [--tasks hole noise small] [--minutes 10] [--images N]

Held-out pictures with a hole of half their side, noise of sigma 0.5, or four times too small. Each is restored by
`restore`, by the same generator where likeness is all that counts (an L1 so heavy that D's word is lost in it: Adam
does not mind the scale), by what people use without learning (scikit-image, OpenCV: the extra `bench`), and by nobody.

PSNR and SSIM against the picture as it was; `perceptual`, the distance of maps of a net (of the bundled classifier for
digits, of `random` for others, which is weak); `sharpness`, the mean step from pixel to pixel over that of the picture
as it was, inside the hole where there is one; for digits, accuracy of the bundled classifier. `--images` gives the
budget in images instead. Writes benchmarks/results/restoration-DATA.json and, of digits, a
picture for each task.
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
from mulligan.engine.sampling import CHUNK
from mulligan.kinds.pictures import grid
from mulligan.metrics.features.digits import digits
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.pictures import maps_apart, psnr, ssim
from runs import whole

RESULTS = Path(__file__).parent / "results"
TASKS: dict[str, dict[str, Any]] = {
    "hole": {"task": "inpaint", "task.masks": "boxes", "task.hole": 0.5, "task.centred": True},
    "noise": {"task": "denoise", "task.least": 0.5, "task.most": 0.5},
    "small": {"task": "superres", "task.scale": 4},
}
LIKENESS_ONLY = {"terms.l1.weight": 1e5}
MOST, SHOWN = 1_000, 12  # pictures that are measured; in the picture
Restored = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # (H, W, C) in [0, 1] and holes (H, W) -> the like


def _channels_apart(filled: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Restored:
    def of_all(seen: np.ndarray, holes: np.ndarray | None) -> np.ndarray:
        assert holes is not None
        grey = (seen * 255).round().astype(np.uint8)
        return np.stack([filled(each, holes.astype(np.uint8)) for each in grey.transpose(2, 0, 1)], 2) / 255

    return of_all


CLASSICAL: dict[str, dict[str, Restored]] = {
    "hole": {
        "biharmonic": lambda seen, holes: inpaint_biharmonic(seen, holes, channel_axis=2),
        "Telea": _channels_apart(lambda grey, holes: cv2.inpaint(grey, holes, 3, cv2.INPAINT_TELEA)),
        "Navier-Stokes": _channels_apart(lambda grey, holes: cv2.inpaint(grey, holes, 3, cv2.INPAINT_NS)),
    },
    "noise": {  # sigma: 0.5 where white is 1 and black -1
        "as shown": lambda seen, _: seen,
        "non-local means": lambda seen, _: np.stack(
            [  # the best of eight settings, looked for on training digits
                denoise_nl_means(each, patch_size=5, patch_distance=6, h=0.15, sigma=0.25, fast_mode=False)
                for each in np.moveaxis(seen, 2, 0)
            ],
            axis=2,
        ),
    },
    "small": {"bicubic": lambda seen, _: seen},  # as it is shown to G
}


def sharpness(images: Tensor, holes: Tensor | None) -> Tensor:
    """Mean |difference| of neighbours, in all holes together where there are any: a number."""
    x = to_float(images)
    steps = x.diff(dim=2)[:, :, :, 1:].abs() + x.diff(dim=3)[:, :, 1:].abs()  # (N, C, H - 1, W - 1)
    if holes is None:
        return steps.mean()
    return (steps * holes[:, :, 1:, 1:]).sum() / (holes[:, :, 1:, 1:].sum() * x.shape[1])


class Score:
    """Numbers of pictures that are to be as `wanted`, uint8 (N, C, H, W)."""

    def __init__(self, wanted: Tensor, labels: Tensor | None, holes: Tensor | None, net: FeatureNet) -> None:
        self.wanted, self.labels, self.holes, self.net = wanted, labels, holes, net

    @torch.inference_mode()
    def __call__(self, made: Tensor) -> dict[str, float]:
        pairs = list(zip(made.split(250), self.wanted.split(250), strict=True))
        found = {
            "psnr": psnr(made, self.wanted).mean(),
            "ssim": torch.cat([ssim(*pair) for pair in pairs]).mean(),
            "perceptual": torch.cat([maps_apart(self.net, *pair) for pair in pairs]).mean(),
            "sharpness": sharpness(made, self.holes) / sharpness(self.wanted, self.holes),
        }
        if self.labels is not None:
            said = torch.cat([digits().classify(to_float(some)) for some in made.split(500)])
            found["accuracy"] = (said == self.labels).double().mean()
        return {name: round(value.item(), 4) for name, value in found.items()}


def compare(data: str, options: mg.DataOptions, task: str, budget: dict[str, Any], seed: int) -> tuple[dict, Tensor]:
    """Every way of restoring, by name, and a picture of the first few."""
    restored: dict[str, Tensor] = {}
    images_seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, more in (("restore", {}), ("likeness only", LIKENESS_ONLY)):
            run = mg.train(
                data, out=Path(folder, name), settings=TASKS[task] | more, seed=seed, quiet=True, options=options,
                **budget,
            )  # fmt: skip
            run = mg.load(whole(run).path, which="last")  # KID, by which the best is found, is no measure of likeness
            pairs = run.pairs
            count = min(MOST, len(pairs.apart))
            restored[name], images_seen[name] = run.sample(count), run.summary["images_seen"]
    dealt = [pairs.heldout(CHUNK, start) for start in range(0, count, CHUNK)]
    wanted = to_uint8(torch.cat([batch.real for batch in dealt])[:count])
    shown = ((torch.cat([batch.cond for batch in dealt])[:count] + 1) / 2).permute(0, 2, 3, 1).numpy()
    channels = wanted.shape[1]
    holes = shown[..., -1] > 0.75 if task == "hole" else None
    for name, way in CLASSICAL[task].items():
        made = [way(each[..., :channels], None if holes is None else holes[i]) for i, each in enumerate(shown)]
        restored[name] = to_uint8(torch.from_numpy(np.stack(made).clip(0, 1)).float().permute(0, 3, 1, 2) * 2 - 1)
    restored["as they were"] = wanted
    score = Score(
        wanted,
        pairs.data.label_of(pairs.apart[:count]) if data == "digits" else None,
        None if holes is None else torch.from_numpy(holes)[:, None].float(),
        digits() if data == "digits" else registry.features["random"](),
    )
    numbers = {name: score(made) | {"images_seen": images_seen.get(name)} for name, made in restored.items()}
    seen = to_uint8(torch.from_numpy(shown[:SHOWN, ..., :channels]).permute(0, 3, 1, 2) * 2 - 1)
    return numbers, torch.cat([seen, *(made[:SHOWN] for made in restored.values())])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="digits")
    arguments.add_argument("--size", type=int)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--images", type=int)
    arguments.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    budget = {"images": options.images} if options.images else {"minutes": options.minutes}
    name = Path(options.data).stem
    out = RESULTS / f"restoration-{name}.json"
    found = json.loads(out.read_text()) if out.exists() else {}
    for task in options.tasks:
        found[task], picture = compare(
            options.data, mg.DataOptions(size=options.size), task, budget, options.seed
        )  # fmt: skip
        print(task, json.dumps(found[task], indent=2), flush=True)
        out.write_text(json.dumps(found, indent=2) + "\n")
        if name == "digits":  # other data are not ours to show
            grid(picture, columns=SHOWN).save(RESULTS / f"restoration-{name}-{task}.png")


if __name__ == "__main__":
    main()
