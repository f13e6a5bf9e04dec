"""Pictures in another style, learnt without a single pair: does each still show what it showed, and is the style B's?

    python benchmarks/style.py [--styles inverted coloured outlined night drawn] [--signs SIGNS.zip] [--faces FACES.zip]
                               [--recipes restyle restyle-cut] [--seeds 0 1] [--images 40000] [--set PART.OPTION=VALUE]

One half of the pictures is A, as they are; the other half, rendered otherwise, is B: of the shipped digits, white on
black, `inverted`; `coloured`, each in a hue of its own, on black; `outlined`, a ring around what was white; of hand
signs, which come in folders by class, `night`: dark, blue, grainy and darkest at the rim; of faces `drawn`, by a
pencil. What is held out of A is translated by what `mulligan apply` would use, in 8 bits, and judged by what is known
here and not to the game:

- content: the share that reads as the digit or sign it was. Inverted digits are inverted back, of coloured ones the
  brightest channel is taken, and the bundled digit net reads them; outlined ones, and signs by day and by night, are
  read by classifiers of true renderings. Faces are held against the true rendering of that very face: PSNR and SSIM.
- style: the share that a classifier of real A and B calls B.

Of recipes with two ways also the way back, of what is held out of B. `real`: the same measures of the true renderings;
`as shown`: of what was there to begin with. A style whose pictures are not there is passed over, and said so.
Writes benchmarks/results/style.json, and of the first seed style-STYLE-RECIPE.png: what was shown, above what was made
of it; of signs what was made alone; of faces, which are somebody's, nothing.
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
from mulligan.metrics.classifier import Classifier, answers, fitted
from mulligan.metrics.features.digits import digits
from mulligan.metrics.pictures import psnr, ssim
from mulligan.translate.tiles import applied
from runs import called, whole

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH = 1500, 64  # of the classifiers that judge
SHIFT, TURN, SCALE = 2, 10, 0.1  # pixels, degrees and share of the size by which what they learn from is off at most
NOISE = 20  # grey levels, the most that what readers learn from is noisy by: noise is no other content
SHOWN = 16  # pictures of each way
Render = Callable[[Tensor], Tensor]  # uint8 (N, C, H, W) -> the same pictures in a style


class Half(NamedTuple):
    """One of the two sets of pictures, in its own style and in the other's: uint8 (N, C, H, W), by the same rows."""

    images: Tensor
    other: Tensor
    labels: Tensor | None
    train: np.ndarray
    heldout: np.ndarray


Made = Callable[[Tensor, Half], dict[str, float]]  # pictures made of what is held out of a half -> what they kept
Content = Callable[[Half, Half], Made]  # how content is read in the first half's style: see `taught`


def share(right: Tensor) -> float:
    return round(right.double().mean().item(), 4)


def learnt(images: Tensor, labels: Tensor, classes: int) -> Classifier:
    """A classifier of images, of seed 0, that has seen each a little out of place."""
    dice = np.random.default_rng(0)

    def deal(step: int) -> tuple[Tensor, Tensor]:
        rows = endless_order(len(images), 0, step * BATCH, BATCH)
        return out_of_place(images[rows], dice), labels[rows]

    return fitted(tuple(images.shape[1:]), classes, deal, steps=STEPS, seed=0)


def out_of_place(images: Tensor, dice: np.random.Generator) -> Tensor:
    """uint8 (B, C, H, W), each moved, turned and enlarged or made smaller; beyond a picture its border goes on."""
    angle, size, right, down = (
        torch.from_numpy(dice.uniform(-most, most, len(images)).astype(np.float32))
        for most in (math.radians(TURN), SCALE, 2 * SHIFT / images.shape[3], 2 * SHIFT / images.shape[2])
    )
    cos, sin = (1 + size) * angle.cos(), (1 + size) * angle.sin()
    places = F.affine_grid(
        torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1),
        list(images.shape), align_corners=False,
    )  # fmt: skip
    moved = F.grid_sample(images.float(), places, padding_mode="border", align_corners=False)
    return moved.round().to(torch.uint8)


def in_noise(images: Tensor, dice: np.random.Generator) -> Tensor:
    """uint8 (B, C, H, W), each in white noise of its own strength."""
    sigma = NOISE * torch.from_numpy(dice.random(len(images), np.float32))[:, None, None, None]
    noise = torch.from_numpy(dice.standard_normal(images.shape, np.float32))
    return (images + sigma * noise).round().clamp(0, 255).to(torch.uint8)


def bundled(back: Render) -> Content:
    """Digits, brought back to white on black, as the net that is shipped reads them."""

    @torch.inference_mode()
    def kept(made: Tensor, shown: Half) -> dict[str, float]:
        read = torch.cat([digits().classify(to_float(back(some))) for some in made.split(500)])
        return {"content": share(read == shown.labels[shown.heldout])}

    return lambda here, there: kept


def taught(here: Half, there: Half) -> Made:
    """Labels as a net reads them that has learnt from all of both halves' training pictures in this style."""
    dice = np.random.default_rng(0)
    images = torch.cat([here.images[here.train], there.other[there.train]])
    labels = torch.cat([each.labels[each.train] for each in (here, there)])
    reader = trained(
        images,
        labels,
        epochs=STEPS * BATCH // len(images),
        batch=BATCH,
        seen=lambda some: in_noise(out_of_place(some, dice), dice),
    )
    return lambda made, shown: {"content": share(answers(reader, made).argmax(1) == shown.labels[shown.heldout])}


def near_truth(here: Half, there: Half) -> Made:
    """How near pictures come to the true rendering of the same: PSNR in decibels and SSIM."""

    def kept(made: Tensor, shown: Half) -> dict[str, float]:
        true = shown.other[shown.heldout]
        return {"psnr": round(psnr(made, true).mean().item(), 2), "ssim": round(ssim(made, true).mean().item(), 4)}

    return kept


def same(x: Tensor) -> Tensor:
    return x


def coloured(x: Tensor) -> Tensor:
    """Each in a hue of its own, at full strength."""
    hues = np.random.default_rng(0).random(len(x))
    rgb = torch.tensor([colorsys.hsv_to_rgb(hue, 1, 1) for hue in hues])[:, :, None, None]
    return (x * rgb).round().to(torch.uint8)


def outlined(x: Tensor) -> Tensor:
    """What is white by 3x3 more, less what was white: a ring around a dark stroke."""
    return F.max_pool2d(x.float(), 3, 1, 1).sub(x).to(torch.uint8)


def night(x: Tensor) -> Tensor:
    """Dark, red lost most and blue least; darker towards the rim, and grainy as a camera is that sees little."""
    height, width = x.shape[2:]
    rim = torch.linspace(-1, 1, height).square()[:, None] + torch.linspace(-1, 1, width).square()
    seen = (x / 255) ** 1.5 * torch.tensor([0.4, 0.5, 0.8])[:, None, None] * (1 - 0.3 * rim)
    grain = 0.03 * np.random.default_rng(0).standard_normal(seen.shape, np.float32)
    return (255 * (seen + torch.from_numpy(grain))).round().clamp(0, 255).to(torch.uint8)


def drawn(x: Tensor) -> Tensor:
    """By a pencil: each pixel over its surroundings, so that paper is white and lines are what is darker than those."""
    line = torch.exp(-torch.arange(-6.0, 7).square() / (2 * 2.0**2))  # sigma: 2 pixels
    line = (line / line.sum())[None, None]
    soft = F.pad(x.float(), (6, 6, 6, 6), mode="replicate")
    soft = F.conv2d(F.conv2d(soft, line[:, :, None]), line[..., None])
    return (255 * (x / soft.clamp(min=1)).clamp(max=1).square()).round().to(torch.uint8)


class Style(NamedTuple):
    """A row of the table: whose pictures, how A and B show them, how content is read in each, what may be shown."""

    data: str
    plain: Render
    render: Render
    read: tuple[Content, Content]
    pictures: Literal["all", "made", "none"] = "all"


SOURCES: dict[str, dict[str, Any]] = {  # how pictures are opened
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
    "outlined": Style("digits", same, outlined, (bundled(same), taught)),
    "night": Style("signs", same, night, (taught, taught), "made"),
    "drawn": Style("faces", same, drawn, (near_truth, near_truth), "none"),
}


def translated(run: mg.Run, images: Tensor, back: bool) -> Tensor:
    """What `mulligan apply` makes of each, uint8."""
    see = run.pairs.task.see_back if back else run.pairs.task.see
    z = torch.zeros(1, *run.G.z_shape)
    return torch.stack([applied(run.G, image, None, see=see, z=z, device=run.device) for image in images])


def halved(style: Style, spec: str | Path, folder: Path) -> tuple[Half, Half]:
    """Both halves, and in the folder what a run opens: a.npz and b.npz."""
    source = open_data(spec, **SOURCES[style.data])
    rows = np.arange(source.count)
    both = [render(source.images(rows)) for render in (style.plain, style.render)]
    labels = source.label_of(rows)
    halves = []
    for which, (own, other) in enumerate((both, both[::-1])):
        path = folder / f"{'ab'[which]}.npz"
        told = {} if labels is None else {"labels": labels[which::2].numpy()}
        np.savez(path, images=own[which::2].permute(0, 2, 3, 1).contiguous().numpy(), **told)
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
    """By recipe pictures in rows, of the first seed, uint8 (C, H, W). `write` is given all numbers after each run."""
    a, b = halved(style, spec, folder)
    told = torch.cat([torch.zeros(len(a.train)), torch.ones(len(b.train))]).long()
    of_style = learnt(torch.cat([a.images[a.train], b.images[b.train]]), told, 2)
    content = {"a2b": style.read[1](b, a), "b2a": style.read[0](a, b)}

    def scores(made: Tensor, shown: Half, way: str) -> dict[str, float]:
        called = answers(of_style, made).argmax(1) == int(way == "a2b")
        return {**content[way](made, shown), "style": share(called)}

    ways = {"a2b": a, "b2a": b}
    found: dict[str, Any] = {
        "real": {way: scores(shown.other[shown.heldout], shown, way) for way, shown in ways.items()},
        "as shown": {way: scores(shown.images[shown.heldout], shown, way) for way, shown in ways.items()},
        "held out": [len(a.heldout), len(b.heldout)],
        "judges": {"steps": STEPS, "shift": SHIFT, "turn": TURN, "scale": SCALE}
        | ({"reader's noise": NOISE} if taught in style.read else {}),
        "runs": {called(recipe, order["settings"]): {} for recipe in recipes},
    }
    pictures: dict[str, Tensor] = {}
    for recipe, seed in product(recipes, seeds):
        out = folder / f"{recipe}-{seed}"
        run = whole(
            mg.train(folder / "a.npz", folder / "b.npz", recipe=recipe, seed=seed, out=out, quiet=True, **order)
        )
        run = mg.load(run.path)
        kept = ("images_seen", "best_images", "seconds", "images_per_second", "parameters", "rewinds")
        row = found["runs"][called(recipe, order["settings"])][str(seed)] = {key: run.summary[key] for key in kept}
        rows_of = []
        for way, shown in ways.items():
            if way == "b2a" and not run.shown.sides:
                continue
            inputs = shown.images[shown.heldout]
            made = translated(run, inputs, way == "b2a")
            row[way] = scores(made, shown, way)
            some = np.linspace(0, len(made) - 1, SHOWN).astype(int)
            lines = {"all": (inputs, made), "made": (made,), "none": ()}[style.pictures]
            rows_of += [torch.cat(list(each[some]), 2) for each in lines]
        if rows_of:
            pictures.setdefault(called(recipe, order["settings"]), torch.cat(rows_of, 1))
        print(recipe, seed, json.dumps(row), flush=True)
        write(found)
    return pictures


def writer(path: Path, name: str) -> Callable[[dict[str, Any]], None]:
    """What writes a style's numbers into a file, beside what is there already; other judges' numbers give way."""
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
    arguments.add_argument("--signs", type=Path, help="pictures of hand signs, by class, for the style night")
    arguments.add_argument("--faces", type=Path, help="pictures of faces, for the style drawn")
    arguments.add_argument("--recipes", nargs="+", default=["restyle", "restyle-cut"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments.add_argument("--set", action="append", default=[], dest="settings")
    arguments.add_argument("--out", type=Path, default=RESULTS / "style.json")
    options = arguments.parse_args()
    order = {"images": options.images, "settings": dict(map(parse_setting, options.settings))}
    places = {"digits": "digits", "signs": options.signs, "faces": options.faces}
    for name in options.styles:
        style = STYLES[name]
        spec = places[style.data]
        if spec is None or not (spec == "digits" or spec.exists()):
            print(f"{name}: passed over, as there is nothing at --{style.data} {spec or ''}", flush=True)
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
