"""Translation of images to another style, trained without pairs: is the content preserved, and is the style right?

    python benchmarks/style.py [--styles inverted coloured outlined night drawn] [--signs SIGNS.zip] [--faces FACES.zip]
                               [--recipes restyle restyle-cut] [--seeds 0 1] [--images 40000] [--set PART.OPTION=VALUE]

One half of the images is set A, unchanged; the other half, rendered in another style, is set B. Of the shipped digits,
white on black: `inverted`; `coloured`, each in a random hue, on black; `outlined`, a ring around what was white. Of
hand signs, in folders by class: `night`, dark, blue, grainy, and darkest at the edges. Of faces: `drawn`, as by a
pencil. Held-out images of A are translated as `mulligan apply` does it, in 8 bits, and measured by what training does
not know:

- content: the share that is read as the same digit or sign as before. Inverted digits are inverted back, coloured ones
  are reduced to their brightest channel, and the bundled digit net reads them. Outlined digits, and signs of both
  styles, are read by classifiers of true renderings. Faces are compared with the true rendering of the same face: PSNR
  and SSIM.
- style: the share that a classifier of real A and B assigns to B.

For recipes with two directions also the way back, from held-out images of B. `real`: the same metrics of the true
renderings; `as shown`: of the inputs. A style whose images are not given is left out, with a message. Writes
benchmarks/results/style.json, and for the first seed style-STYLE-RECIPE.png: inputs above results; for signs, results
only; for faces, which may not be published, nothing.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import math
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import mulligan.api as mg
from mnist_judge import trained
from mulligan.core.batch import to_float
from mulligan.core.recipe import parse_setting
from mulligan.core.seeding import endless_order
from mulligan.data import open_data
from mulligan.metrics.classifier import Classifier, fitted, outputs
from mulligan.metrics.features.digits import digits
from mulligan.metrics.pictures import psnr, ssim
from mulligan.translate.tiles import applied
from runs import called, whole

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH = 1500, 64  # of the classifiers that measure
SHIFT, TURN, SCALE = (
    2,
    10,
    0.1,
)  # their training images are moved by at most these pixels, degrees and shares of the size
NOISE = 20  # grey levels, at most, in the training images of readers: noise does not change the content
DISPLAYED = 16  # images of each direction
Render = Callable[[Tensor], Tensor]  # uint8 (N, C, H, W) -> the same images in a style


class Half(NamedTuple):
    """One of the two sets of images, in its own style and in the other one: uint8 (N, C, H, W), by the same rows."""

    images: Tensor
    other: Tensor
    labels: Tensor | None
    train: np.ndarray
    heldout: np.ndarray


Reader = Callable[[Tensor, Half], dict[str, float]]  # translations of a half's held-out images -> content metrics
Content = Callable[[Half, Half], Reader]  # makes the reader for the first half's style: see `trained_reader`


def share(right: Tensor) -> float:
    return round(right.double().mean().item(), 4)


def learnt(images: Tensor, labels: Tensor, classes: int) -> Classifier:
    """A classifier of images, trained with seed 0 on images that are moved slightly."""
    rng = np.random.default_rng(0)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rows = endless_order(len(images), 0, step * BATCH, BATCH)
        return moved(images[rows], rng), labels[rows]

    return fitted(tuple(images.shape[1:]), classes, batch, steps=STEPS, seed=0)


def moved(images: Tensor, rng: np.random.Generator) -> Tensor:
    """uint8 (B, C, H, W), each shifted, rotated and scaled; outside an image its border is repeated."""
    angle, size, right, down = (
        torch.from_numpy(rng.uniform(-most, most, len(images)).astype(np.float32))
        for most in (math.radians(TURN), SCALE, 2 * SHIFT / images.shape[3], 2 * SHIFT / images.shape[2])
    )
    cos, sin = (1 + size) * angle.cos(), (1 + size) * angle.sin()
    grid = F.affine_grid(
        torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1),
        list(images.shape), align_corners=False,
    )  # fmt: skip
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False).round().to(torch.uint8)


def noisy(images: Tensor, rng: np.random.Generator) -> Tensor:
    """uint8 (B, C, H, W), each with white noise of a random strength."""
    sigma = NOISE * torch.from_numpy(rng.random(len(images), np.float32))[:, None, None, None]
    noise = torch.from_numpy(rng.standard_normal(images.shape, np.float32))
    return (images + sigma * noise).round().clamp(0, 255).to(torch.uint8)


def bundled(back: Render) -> Content:
    """Digits, brought back to white on black by `back`, and read by the net that ships with Mulligan."""

    @torch.inference_mode()
    def content(made: Tensor, half: Half) -> dict[str, float]:
        read = torch.cat([digits().classify(to_float(back(some))) for some in made.split(500)])
        return {"content": share(read == half.labels[half.heldout])}

    return lambda here, there: content


def trained_reader(here: Half, there: Half) -> Reader:
    """Labels as read by a net that is trained on all training images of both halves in this style."""
    rng = np.random.default_rng(0)
    images = torch.cat([here.images[here.train], there.other[there.train]])
    labels = torch.cat([each.labels[each.train] for each in (here, there)])
    reader = trained(
        images,
        labels,
        epochs=STEPS * BATCH // len(images),
        batch=BATCH,
        augment=lambda some: noisy(moved(some, rng), rng),
    )
    return lambda made, half: {"content": share(outputs(reader, made).argmax(1) == half.labels[half.heldout])}


def similarity(here: Half, there: Half) -> Reader:
    """Similarity to the true rendering of the same images: PSNR in decibels, and SSIM."""

    def content(made: Tensor, half: Half) -> dict[str, float]:
        true = half.other[half.heldout]
        return {"psnr": round(psnr(made, true).mean().item(), 2), "ssim": round(ssim(made, true).mean().item(), 4)}

    return content


def same(x: Tensor) -> Tensor:
    return x


def coloured(x: Tensor) -> Tensor:
    """Each in a random hue, fully saturated."""
    hues = np.random.default_rng(0).random(len(x))
    rgb = torch.tensor([colorsys.hsv_to_rgb(hue, 1, 1) for hue in hues])[:, :, None, None]
    return (x * rgb).round().to(torch.uint8)


def outlined(x: Tensor) -> Tensor:
    """White dilated by 3x3, minus white: a ring around a dark stroke."""
    return F.max_pool2d(x.float(), 3, 1, 1).sub(x).to(torch.uint8)


def night(x: Tensor) -> Tensor:
    """Dark, red most and blue least; darker towards the edges, and grainy as images of a camera in little light."""
    height, width = x.shape[2:]
    rim = torch.linspace(-1, 1, height).square()[:, None] + torch.linspace(-1, 1, width).square()
    dark = (x / 255) ** 1.5 * torch.tensor([0.4, 0.5, 0.8])[:, None, None] * (1 - 0.3 * rim)
    grain = 0.03 * np.random.default_rng(0).standard_normal(dark.shape, np.float32)
    return (255 * (dark + torch.from_numpy(grain))).round().clamp(0, 255).to(torch.uint8)


def drawn(x: Tensor) -> Tensor:
    """As by a pencil: each pixel divided by its surroundings, so that lines are what is darker than these."""
    line = torch.exp(-torch.arange(-6.0, 7).square() / (2 * 2.0**2))  # sigma: 2 pixels
    line = (line / line.sum())[None, None]
    soft = F.pad(x.float(), (6, 6, 6, 6), mode="replicate")
    soft = F.conv2d(F.conv2d(soft, line[:, :, None]), line[..., None])
    return (255 * (x / soft.clamp(min=1)).clamp(max=1).square()).round().to(torch.uint8)


class Style(NamedTuple):
    """The data of a style, how A and B render them, how content is read in each, and which pictures are published."""

    data: str
    plain: Render
    render: Render
    read: tuple[Content, Content]
    pictures: Literal["all", "made", "none"] = "all"


SOURCES: dict[str, dict[str, Any]] = {  # options of readers
    "digits": {},
    "signs": {"size": 32, "labels": True},
    "faces": {"size": 48, "channels": 1},
}
STYLES = {
    "inverted": Style("digits", same, lambda x: 255 - x, (bundled(same), bundled(lambda x: 255 - x))),
    "coloured": Style(
        "digits",
        lambda x: x.repeat(1, 3, 1, 1),
        coloured,
        (bundled(same), bundled(lambda x: x.amax(1, keepdim=True))),
    ),
    "outlined": Style("digits", same, outlined, (bundled(same), trained_reader)),
    "night": Style("signs", same, night, (trained_reader, trained_reader), "made"),
    "drawn": Style("faces", same, drawn, (similarity, similarity), "none"),
}


def translated(run: mg.Run, images: Tensor, back: bool) -> Tensor:
    """What `mulligan apply` makes of each, uint8."""
    task = run.dealer.task
    given = task.condition_back if back else task.condition_for
    z = torch.zeros(1, *run.G.z_shape)
    return torch.stack([applied(run.G, image, None, condition_for=given, z=z, device=run.device) for image in images])


def halved(style: Style, spec: str | Path, folder: Path) -> tuple[Half, Half]:
    """Both halves; also written as a.npz and b.npz, which a run opens, into the folder."""
    source = open_data(spec, **SOURCES[style.data])
    rows = np.arange(source.count)
    both = [render(source.records(rows)) for render in (style.plain, style.render)]
    labels = source.label_of(rows)
    halves = []
    for which, (own, other) in enumerate((both, both[::-1])):
        path = folder / f"{'ab'[which]}.npz"
        ids = {} if labels is None else {"labels": labels[which::2].numpy()}
        np.savez(path, images=own[which::2].permute(0, 2, 3, 1).contiguous().numpy(), **ids)
        side = open_data(path)
        of_half = (own[which::2], other[which::2], None if labels is None else labels[which::2])
        halves.append(Half(*of_half, side.train, side.heldout))
    return halves[0], halves[1]


def measure(
    style: Style,
    spec: str | Path,
    recipes: list[str],
    seeds: list[int],
    order: dict[str, Any],
    folder: Path,
    write: Callable[[dict[str, Any]], None],
) -> dict[str, Tensor]:
    """Pictures of the first seed by recipe, uint8 (C, H, W). `write` gets all numbers after each run."""
    a, b = halved(style, spec, folder)
    in_b = torch.cat([torch.zeros(len(a.train)), torch.ones(len(b.train))]).long()
    of_style = learnt(torch.cat([a.images[a.train], b.images[b.train]]), in_b, 2)
    content = {"a2b": style.read[1](b, a), "b2a": style.read[0](a, b)}

    def scores(made: Tensor, half: Half, direction: str) -> dict[str, float]:
        right = outputs(of_style, made).argmax(1) == int(direction == "a2b")
        return {**content[direction](made, half), "style": share(right)}

    directions = {"a2b": a, "b2a": b}
    found: dict[str, Any] = {
        "real": {name: scores(half.other[half.heldout], half, name) for name, half in directions.items()},
        "as shown": {name: scores(half.images[half.heldout], half, name) for name, half in directions.items()},
        "held out": [len(a.heldout), len(b.heldout)],
        "judges": {"steps": STEPS, "shift": SHIFT, "turn": TURN, "scale": SCALE}
        | ({"reader's noise": NOISE} if trained_reader in style.read else {}),
        "runs": {called(recipe, order["settings"]): {} for recipe in recipes},
    }
    pictures: dict[str, Tensor] = {}
    for recipe, seed in product(recipes, seeds):
        out = folder / f"{recipe}-{seed}"
        run = whole(
            mg.train(folder / "a.npz", folder / "b.npz", recipe=recipe, seed=seed, out=out, quiet=True, **order)
        )
        run = mg.load(run.path)
        summary = run.summary
        row = found["runs"][called(recipe, order["settings"])][str(seed)] = {
            "images_seen": summary["samples_seen"],
            "best_images": summary["best_samples"],
            "seconds": summary["seconds"],
            "images_per_second": summary["samples_per_second"],
            "parameters": summary["parameters"],
            "rewinds": summary["rewinds"],
        }
        rows_of = []
        for direction, half in directions.items():
            if direction == "b2a" and "side" not in run.condition:
                continue
            inputs = half.images[half.heldout]
            made = translated(run, inputs, direction == "b2a")
            row[direction] = scores(made, half, direction)
            some = np.linspace(0, len(made) - 1, DISPLAYED).astype(int)
            lines = {"all": (inputs, made), "made": (made,), "none": ()}[style.pictures]
            rows_of += [torch.cat(list(each[some]), 2) for each in lines]
        if rows_of:
            pictures.setdefault(called(recipe, order["settings"]), torch.cat(rows_of, 1))
        print(recipe, seed, json.dumps(row), flush=True)
        write(found)
    return pictures


def writer(path: Path, name: str) -> Callable[[dict[str, Any]], None]:
    """A function that adds a style's numbers to a file; it replaces those that other classifiers measured."""
    known = json.loads(path.read_text()) if path.exists() else {}
    earlier = known.get(name, {})

    def write(found: dict[str, Any]) -> None:
        if earlier.get("judges") == found["judges"]:
            for recipe, runs in earlier["runs"].items():
                found["runs"][recipe] = runs | found["runs"].get(recipe, {})
        known[name] = found
        path.write_text(json.dumps(known, indent=2) + "\n")

    return write


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=40_000)
    arguments.add_argument("--styles", nargs="+", choices=list(STYLES), default=list(STYLES))
    arguments.add_argument("--signs", type=Path, help="images of hand signs, by class, for the style night")
    arguments.add_argument("--faces", type=Path, help="images of faces, for the style drawn")
    arguments.add_argument("--recipes", nargs="+", default=["restyle", "restyle-cut"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments.add_argument("--set", action="append", default=[], dest="settings")
    arguments.add_argument("--out", type=Path, default=RESULTS / "style.json")
    options = arguments.parse_args()
    order = {"samples": options.images, "settings": dict(map(parse_setting, options.settings))}
    places = {"digits": "digits", "signs": options.signs, "faces": options.faces}
    for name in options.styles:
        style = STYLES[name]
        spec = places[style.data]
        if spec is None or not (spec == "digits" or spec.exists()):
            print(f"{name}: left out: there is nothing at --{style.data} {spec or ''}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            pictures = measure(
                style, spec, options.recipes, options.seeds, order, Path(folder), writer(options.out, name)
            )
        for recipe, picture in pictures.items():
            grid = picture.expand(3, -1, -1).permute(1, 2, 0).numpy()
            large = Image.fromarray(grid).resize((2 * grid.shape[1], 2 * grid.shape[0]), Image.Resampling.NEAREST)
            large.save(options.out.with_name(f"{options.out.stem}-{name}-{recipe}.png"), optimize=True)


if __name__ == "__main__":
    main()
