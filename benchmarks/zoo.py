"""Every recipe of the zoo by the same budget of images, side by side; docs/zoo.md is written from what comes out.

    python benchmarks/zoo.py [--on grid long-grid digits stacked speed] [--only NAME ...] [--images N] [--seeds 0 1 2]
                             [--set PART.OPTION=VALUE] [--write-only]

A trial is `mulligan train` with a recipe, a data set and a seed, the guard off, so that failures show. Every trial is
written to benchmarks/results/zoo.json when it ends; what is there, of the same recipe and budget, is not run again.
Recipes with published sizes are left out, and those that make images from images. By default `long-grid` is for a
chosen few: --only names any, or `all`.

grid: 25 Gaussians in a plane. Most networks make images only, so here all recipes have the dense networks of the recipe
`points`, and augmentations are left out: what is compared is the game (loss, terms, optimizers, turns, batch, average).
long-grid: the same for five times as long, as most games have not arrived by then.
digits: 28x28, held-out coverage, recall and KID. stacked: three digits in a picture, of 1,000 modes those found.
speed: steps on digits, and nothing but steps; all else may be played beside other work, this is best played alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import mulligan as mg
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part, Recipe, parse_setting
from mulligan.core.run import read_json, write_json
from mulligan.data import Data, open_data
from mulligan.engine.memory import kept_memory
from mulligan.kinds.pictures import grid, plot
from mulligan.measure.judge import Judge
from mulligan.metrics.distances import measure
from mulligan.metrics.protocol import extract
from mulligan.runs.build import build_game, recipe_named
from mulligan.runs.plan import images_per_second
from runs import called, whole
from zoo_page import DATA, PUBLISHED, page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "zoo.json"
PAGE = ROOT / "docs" / "zoo.md"
PICTURES = ROOT / "docs" / "zoo"
SEEDS = [0]
SHOWN, COLUMNS, SHADES = 32, 8, 16  # samples in a picture, and its greys: it is to be small
SHRUNK = 2  # a plot of points, for the same reason


def compared() -> list[Recipe]:
    return [recipe for recipe in mg.recipes() if PUBLISHED not in recipe.about and not recipe.from_images]


def on_points(recipe: Recipe) -> Recipe:
    """The game that a recipe plays, with the networks of `points`, which are told classes as its own are."""
    points = recipe_named("points")
    told = {key: value for key, value in recipe.discriminator.options.items() if key == "class_by"}
    noise = {"z": 0} if recipe.generator.options.get("z") == 0 else {}  # of the points' shape, where the game wants it
    return dataclasses.replace(
        recipe,
        generator=points.generator.with_options(**noise),
        discriminator=points.discriminator.with_options(**told),
        augment=Part("none") if "operations" in recipe.augment.options else recipe.augment,
    ).resolve()


def stamp(recipe: Recipe) -> str:
    """Changes with anything that a run depends on."""
    told = {key: value for key, value in recipe.as_json().items() if key not in ("about", "paper", "parent", "budget")}
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Training:
    """Every recipe trained on `data`, by as many images for each; `samples` of the best checkpoint are judged."""

    data: str
    images: int
    samples: int
    pictured: bool = False  # the first seed's
    few: tuple[str, ...] = ()  # by default only these

    @property
    def budget(self) -> dict[str, Any]:
        return {"images": self.images}

    @property
    def in_plane(self) -> bool:
        return self.data == "grid"

    def played(self, recipe: Recipe) -> Recipe:
        return on_points(recipe) if self.in_plane else recipe

    def heading(self, pictures: Path) -> dict[str, Any]:
        """What numbers depend on; and training images measured as if they were samples: what there is to reach."""
        data: Data = open_data(self.data)
        judge = Judge(data, num_fake=self.samples)
        images = data.images(data.train[:: len(data.train) // self.samples][: self.samples])
        if self.in_plane:
            save(picture(images), pictures / f"{DATA}.png")
        best = measure(judge.real, extract(judge.net, [images])) if self.data == "digits" else data.modes(images)
        return {"protocol": judge.protocol.as_dict(), "data": best}

    def row(self, recipe: Recipe, seed: int, shown: Path | None) -> dict[str, Any]:
        """One run and what it comes to; where it cannot be, why. `shown` is where a picture goes."""
        options = mg.DataOptions(labels=self.in_plane and recipe.task.name == "by-class")
        begun, begun_cpu = time.monotonic(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                run = mg.train(
                    self.data, recipe=recipe, images=self.images, seed=seed, out=folder, guard="off", quiet=True,
                    options=options,
                )  # fmt: skip
                summary, found = whole(run).summary, self.measured(run)
                if shown and self.pictured:
                    save(picture(run.sample(self.samples if self.in_plane else SHOWN, seed=1)), shown)
            except UserError as error:
                return {"refused": str(error)}
            except Exception as error:
                return {"failed": f"{type(error).__name__}: {error}"}
        return {key: round(value, 5) for key, value in found.items()} | {
            "status": summary["status"],
            "parameters": summary["parameters"],
            "by_class": bool(run.classes),
            "seconds": round(time.monotonic() - begun, 1),
            "cpu_seconds": round(time.process_time() - begun_cpu, 1),  # looks included; not more beside other work
        }

    def measured(self, run: mg.Run) -> dict[str, float]:
        """Of the best checkpoint, by KID. Raises UserError where the game was over before there was any."""
        if self.data == "digits":
            return run.evaluate(samples=self.samples)["metrics"]
        samples = torch.cat([made for made, _ in run.draw(self.samples, seed=1)])
        return run.open_data().modes(samples)


@dataclass(frozen=True)
class Timing:
    """Steps of every recipe's game, and nothing but steps."""

    seconds: float
    few: tuple[str, ...] = ()

    @property
    def budget(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def played(self, recipe: Recipe) -> Recipe:
        return recipe

    def heading(self, pictures: Path) -> dict[str, Any]:
        return {}

    def row(self, recipe: Recipe, seed: int, shown: Path | None) -> dict[str, Any]:
        """The game is thrown away."""
        game = build_game(recipe, open_data("digits"), seed=seed, device=torch.device("cpu"), precision="fp32")
        with kept_memory():  # as in training
            speed = images_per_second(game, self.seconds)
        return {"images_per_second": round(speed, 1), "load": round(os.getloadavg()[0], 2)}


CONTESTS: dict[str, Training | Timing] = {  # samples as many as papers take; of digits, as many as are held out
    "grid": Training("grid", images=200_000, samples=2_500, pictured=True),
    "long-grid": Training(
        "grid", images=1_000_000, samples=2_500, pictured=True,
        few=("gan", "dcgan", "lsgan", "wgan", "wgan-gp", "wgan-div", "dragan", "relativistic", "relativistic-average",
             "r3gan", "points", "digits"),
    ),
    "digits": Training("digits", images=10_000, samples=500, pictured=True),
    "stacked": Training("stacked", images=30_000, samples=26_000),
    "speed": Timing(seconds=3.0),
}  # fmt: skip


def picture(samples: Tensor) -> Image.Image:
    """A grid of images that are no larger than they are, or a small plot of all points."""
    sheet = grid(samples, columns=COLUMNS, scale=1) if samples.ndim == 4 else plot(samples).reduce(SHRUNK)
    return sheet.quantize(SHADES)


def save(sheet: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def main() -> None:
    by_default = {on: contest.images for on, contest in CONTESTS.items() if isinstance(contest, Training)}
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--on", nargs="+", choices=CONTESTS, default=list(CONTESTS))
    arguments.add_argument("--only", nargs="+", metavar="NAME", default=[])
    arguments.add_argument("--images", type=int, help=f"by default {by_default}")
    arguments.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments.add_argument(
        "--set", action="append", default=[], dest="settings", type=parse_setting, help="such trials are named so"
    )
    arguments.add_argument("--write-only", action="store_true", help="docs/zoo.md from what is in the results")
    arguments.add_argument("--results", type=Path, default=RESULTS)
    arguments.add_argument("--page", type=Path, default=PAGE)
    arguments.add_argument("--pictures", type=Path, default=PICTURES)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    recipes = compared()
    names = [recipe.name for recipe in recipes]
    if wrong := [name for name in options.only if name not in (*names, "all")]:
        arguments.error(f"--only {wrong[0]}: valid: all, {', '.join(names)}")
    found = read_json(options.results) if options.results.exists() else {}

    def write() -> None:
        write_json(options.results, found)
        options.page.write_text(page(mg.recipes(), found, options.pictures.relative_to(options.page.parent)))

    if not options.write_only:
        found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread"
        for on in options.on:
            contest = CONTESTS[on]
            if options.images and isinstance(contest, Training):
                contest = dataclasses.replace(contest, images=options.images)
            chosen = [recipe for recipe in recipes if wanted(recipe.name, contest.few, options.only)]
            chosen = [recipe.with_set(dict(options.settings)) for recipe in chosen]
            play(chosen, on, contest, options, found.setdefault(on, {}), write)
    write()


def wanted(name: str, few: tuple[str, ...], only: list[str]) -> bool:
    return name in only or "all" in only or (not only and name in (few or [name]))


def play(
    recipes: list[Recipe],
    on: str,
    contest: Training | Timing,
    options: argparse.Namespace,
    of_contest: dict[str, Any],
    write: Callable[[], None],
) -> None:
    """What of a contest is not there yet, recipe by recipe; each row written as soon as it is known."""
    pictures = options.pictures / on
    if not of_contest:
        of_contest |= contest.budget | contest.heading(pictures) | {"trials": {}}
    kept = {key: of_contest[key] for key in contest.budget}
    if kept != contest.budget:  # numbers of two budgets are not to stand side by side
        raise SystemExit(
            f"{options.results}: holds trials on {on} of {kept}, not {contest.budget}; "
            "give another --results, or remove them"
        )
    for number, recipe in enumerate(recipes, 1):
        played = contest.played(recipe)
        name = called(recipe.name, dict(options.settings))
        of_recipe = of_contest["trials"].get(name, {})
        if of_recipe.get("recipe") != stamp(played):
            of_recipe = of_contest["trials"][name] = {"recipe": stamp(played), "seeds": {}}
        for seed in options.seeds:
            if str(seed) in of_recipe["seeds"]:
                continue
            shown = seed == options.seeds[0] and not options.settings
            row = contest.row(played, seed, pictures / f"{recipe.name}.png" if shown else None)
            of_recipe["seeds"][str(seed)] = row
            write()
            print(f"{on} {number}/{len(recipes)} {name} seed {seed}: {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
