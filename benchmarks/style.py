"""Digits in another style, learnt without a single pair: is each still its digit, and is the style the other one?

    python benchmarks/style.py [--images 8000] [--styles inverted coloured outlined] [--recipes restyle restyle-cut]
                               [--seeds 0 1] [--set PART.OPTION=VALUE]

One half of the shipped digits is A, white on black; the other half, rendered otherwise, is B: `inverted`; `coloured`,
each in a hue of its own, on black; `outlined`, by the morphological gradient. What is held out of A is translated by
what `mulligan apply` would use, in 8 bits, and judged by what is known here and not to the game:

- content: the share that reads as the digit it was. Inverted ones are inverted back, of coloured ones the brightest
  channel is taken, and the bundled digit net reads them; outlined ones are read by a classifier of outlined digits.
- style: the share that a classifier of real A and B calls B.

Of recipes with two ways also the way back, of what is held out of B. `real`: the same measures of the true renderings.
Writes benchmarks/results/style.json, and of the first seed style-STYLE-RECIPE.png: what was shown, above what was made
of it.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from runs import whole
from torch import Tensor
from torch.nn import functional as F

import mulligan.api as mg
from mulligan.core.batch import to_float
from mulligan.core.recipe import parse_setting
from mulligan.core.seeding import endless_order
from mulligan.data import open_data
from mulligan.metrics.classifier import Classifier, answers, fitted
from mulligan.metrics.features.digits import digits
from mulligan.use.apply import applied

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH = 1500, 64  # of the classifiers that judge
SHIFT = 2  # pixels, at most, each way, of what they learn from
SHOWN = 16  # pictures of each way
Read = Callable[[Tensor], Tensor]  # uint8 (N, C, H, W) -> (N,) the digit each shows


class Style(NamedTuple):
    """`render`: uint8 (N, 1, H, W) -> (N, C, H, W) of B; `plain`: as A has it; `back`: B to digits, if it can be."""

    render: Callable[[Tensor], Tensor]
    plain: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor] | None


def coloured(x: Tensor) -> Tensor:
    """Each in a hue of its own, at full strength."""
    hues = np.random.default_rng(0).random(len(x))
    rgb = torch.tensor([colorsys.hsv_to_rgb(hue, 1, 1) for hue in hues])[:, :, None, None]
    return (x * rgb).round().to(torch.uint8)


def outlined(x: Tensor) -> Tensor:
    """Dilated less eroded, by 3x3."""
    x = x.float()
    return (F.max_pool2d(x, 3, 1, 1) + F.max_pool2d(-x, 3, 1, 1)).to(torch.uint8)


STYLES = {
    "inverted": Style(lambda x: 255 - x, lambda x: x, lambda x: 255 - x),
    "coloured": Style(coloured, lambda x: x.repeat(1, 3, 1, 1), lambda x: x.amax(1, keepdim=True)),
    "outlined": Style(outlined, lambda x: x, None),
}


def learnt(images: Tensor, labels: Tensor, classes: int) -> Classifier:
    """A classifier of images, of seed 0, that has seen them a little out of place."""
    shifts = np.random.default_rng(0).integers(-SHIFT, SHIFT + 1, (STEPS, 2)).tolist()

    def deal(step: int) -> tuple[Tensor, Tensor]:
        rows = endless_order(len(images), 0, step * BATCH, BATCH)
        return images[rows].roll(shifts[step], (2, 3)), labels[rows]

    return fitted(tuple(images.shape[1:]), classes, deal, steps=STEPS, seed=0)


@torch.inference_mode()
def as_digits(images: Tensor) -> Tensor:
    """What the bundled net reads."""
    return torch.cat([digits().classify(to_float(some)) for some in images.split(500)])


def share(right: Tensor) -> float:
    return round(right.double().mean().item(), 4)


def translated(run: mg.Run, images: Tensor, back: bool) -> Tensor:
    """What `mulligan apply` makes of each, uint8."""
    see = run.pairs.task.see_back if back else run.pairs.task.see
    z = torch.zeros(1, *run.G.z_shape)
    return torch.stack([applied(run.G, image, None, see=see, z=z, device=run.device) for image in images])


def measure(
    style: Style, recipes: list[str], seeds: list[int], order: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Numbers, of runs by recipe and seed; and by recipe pictures in rows, of the first seed, uint8 (C, H, W)."""
    shipped = open_data("digits")
    rows = np.arange(shipped.count)
    labels = shipped.label_of(rows).numpy()
    sides = []
    for which, render in enumerate((style.plain, style.render)):
        half = rows[which::2]
        path = folder / f"{'ab'[which]}.npz"
        images = render(shipped.images(half))
        np.savez(path, images=images.permute(0, 2, 3, 1).contiguous().numpy(), labels=labels[half])
        sides.append(open_data(path))
    train_a, train_b = (side.images(side.train) for side in sides)
    told = torch.cat([torch.zeros(len(train_a)), torch.ones(len(train_b))]).long()
    of_style = learnt(torch.cat([train_a, train_b]), told, 2)
    read: Read = as_digits
    if style.back:
        read = lambda images: as_digits(style.back(images))  # noqa: E731
    else:
        plain = torch.cat([train_a, shipped.images(rows[1::2])[sides[1].train]])
        both = torch.cat([side.label_of(side.train) for side in sides])
        reader = learnt(style.render(plain), both, 10)
        read = lambda images: answers(reader, images).argmax(1)  # noqa: E731

    a, b = (side.images(side.heldout) for side in sides)
    label_a, label_b = (side.label_of(side.heldout) for side in sides)

    def scores(made: Tensor, labels: Tensor, to_b: bool) -> dict[str, float]:
        reads = read(made) if to_b else as_digits(made)
        called = answers(of_style, made).argmax(1) == int(to_b)
        return {"content": share(reads == labels), "style": share(called)}

    found: dict[str, Any] = {
        "real": {"a2b": scores(b, label_b, True), "b2a": scores(a, label_a, False)},
        "as shown": {"a2b": scores(a, label_a, True)},
        "held out": [len(a), len(b)],
        "judges": {"steps": STEPS, "shift": SHIFT},
        "runs": {recipe: {} for recipe in recipes},
    }
    pictures: dict[str, Tensor] = {}
    for recipe, seed in product(recipes, seeds):
        out = folder / f"{recipe}-{seed}"
        run = whole(
            mg.train(folder / "a.npz", folder / "b.npz", recipe=recipe, seed=seed, out=out, quiet=True, **order)
        )
        run = mg.load(run.path)
        kept = ("images_seen", "best_images", "seconds", "images_per_second", "parameters", "rewinds")
        row = found["runs"][recipe][str(seed)] = {key: run.summary[key] for key in kept}
        rows_of = []
        for way, (shown, wanted) in {"a2b": (a, label_a), "b2a": (b, label_b)}.items():
            if way == "b2a" and not run.shown.sides:
                continue
            made = translated(run, shown, way == "b2a")
            row[way] = scores(made, wanted, way == "a2b")
            some = np.linspace(0, len(shown) - 1, SHOWN).astype(int)
            rows_of += [torch.cat(list(each[some]), 2) for each in (shown, made)]
        pictures.setdefault(recipe, torch.cat(rows_of, 1))
    return found, pictures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=8_000)
    arguments.add_argument("--styles", nargs="+", choices=list(STYLES), default=list(STYLES))
    arguments.add_argument("--recipes", nargs="+", default=["restyle", "restyle-cut"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments.add_argument("--set", action="append", default=[], dest="settings")
    arguments.add_argument("--out", type=Path, default=RESULTS / "style.json")
    options = arguments.parse_args()
    order = {"images": options.images, "settings": dict(map(parse_setting, options.settings))}
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.styles:
        with tempfile.TemporaryDirectory() as folder:
            found, pictures = measure(STYLES[name], options.recipes, options.seeds, order, Path(folder))
        earlier = known.get(name, {})
        if earlier.get("judges") == found["judges"]:  # what others judged is not beside it
            for recipe, runs in earlier["runs"].items():
                found["runs"][recipe] = runs | found["runs"].get(recipe, {})
        known[name] = found
        print(name, json.dumps(found, indent=2), flush=True)
        options.out.write_text(json.dumps(known, indent=2) + "\n")
        for recipe, picture in pictures.items():
            grid = picture.expand(3, -1, -1).permute(1, 2, 0).numpy()
            large = Image.fromarray(grid).resize((2 * grid.shape[1], 2 * grid.shape[0]), Image.Resampling.NEAREST)
            large.save(options.out.with_name(f"{options.out.stem}-{name}-{recipe}.png"), optimize=True)


if __name__ == "__main__":
    main()
