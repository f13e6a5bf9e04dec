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
from pathlib import Path
from typing import Any

import torch

import mulligan as mg
from mulligan.api.build import build_game, recipe_named
from mulligan.api.judge import Judge
from mulligan.api.plan import images_per_second
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part, Recipe, parse_setting
from mulligan.core.run import read_json, write_json
from mulligan.data import Data, open_data
from mulligan.engine.memory import kept_memory
from mulligan.metrics.distances import measure
from mulligan.metrics.protocol import extract
from mulligan.use.pictures import grid
from runs import called, whole
from zoo_page import PUBLISHED, page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "zoo.json"
PAGE = ROOT / "docs" / "zoo.md"
PICTURES = ROOT / "docs" / "zoo"
IMAGES = {"grid": 200_000, "long-grid": 1_000_000, "digits": 10_000, "stacked": 30_000}
SAMPLES = {"grid": 2_500, "digits": 500, "stacked": 26_000}  # of papers; of digits, as many as are held out
SPEED, SECONDS = "speed", 3.0  # of steps that are timed
SEEDS = [0]
FEW = {
    "long-grid": (
        "gan", "dcgan", "lsgan", "wgan", "wgan-gp", "wgan-div", "dragan", "relativistic", "relativistic-average",
        "r3gan", "points", "digits",
    ),
}  # fmt: skip
SHOWN, COLUMNS, SHADES = 32, 8, 16  # samples in a picture, and its greys: it is to be small


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


def data_of(on: str) -> str:
    return on.removeprefix("long-")


def trial(recipe: Recipe, spec: str, images: int, seed: int, picture: Path | None) -> dict[str, Any]:
    """One run and what it comes to; where it cannot be, why."""
    options = mg.DataOptions(labels=spec == "grid" and recipe.task.name == "by-class")
    begun, begun_cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = whole(
                mg.train(
                    spec, recipe=recipe, images=images, seed=seed, out=folder, guard="off", quiet=True, options=options
                )
            )
            summary, found = run.summary, measured(run, spec)
            if picture:
                picture.parent.mkdir(exist_ok=True)
                grid(run.sample(SHOWN, seed=1), columns=COLUMNS, scale=1).quantize(SHADES).save(picture, optimize=True)
        except UserError as error:
            return {"refused": str(error)}
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"}
    return {key: round(value, 5) for key, value in found.items()} | {
        "status": summary["status"],
        "parameters": summary["parameters"],
        "by_class": bool(run.classes),
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(time.process_time() - begun_cpu, 1),  # looks included; not more where others compute too
    }


def measured(run: mg.Run, spec: str) -> dict[str, float]:
    """Of the best checkpoint, by KID. Raises UserError where the game was over before there was any."""
    if spec == "digits":
        return run.evaluate(samples=SAMPLES[spec])["metrics"]
    samples = torch.cat([made for made, _ in run.draw(SAMPLES[spec], seed=1)])
    return run.open_data().modes(samples)


def clocked(recipe: Recipe) -> dict[str, Any]:
    """Steps of a game that is thrown away."""
    game = build_game(recipe, open_data("digits"), seed=0, device=torch.device("cpu"), precision="fp32")
    with kept_memory():  # as in training
        speed = images_per_second(game, SECONDS)
    return {"images_per_second": round(speed, 1), "load": round(os.getloadavg()[0], 2)}


def of_the_data(spec: str) -> dict[str, float]:
    """The same numbers of training images, as if they were samples: what there is to reach."""
    data: Data = open_data(spec)
    images = data.images(data.train[:: len(data.train) // SAMPLES[spec]][: SAMPLES[spec]])
    if spec != "digits":
        return data.modes(images)
    judge = Judge(data)
    return measure(judge.real, extract(judge.net, [images]))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--on", nargs="+", choices=[*IMAGES, SPEED], default=[*IMAGES, SPEED])
    arguments.add_argument("--only", nargs="+", metavar="NAME", default=[])
    arguments.add_argument("--images", type=int, help=f"by default {IMAGES}")
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
            chosen = [recipe for recipe in recipes if wanted(recipe.name, on, options.only)]
            chosen = [recipe.with_set(dict(options.settings)) for recipe in chosen]
            play(chosen, on, options, found.setdefault(on, {}), write)
    write()


def wanted(name: str, on: str, only: list[str]) -> bool:
    return name in only or "all" in only or (not only and name in FEW.get(on, [name]))


def play(
    recipes: list[Recipe], on: str, options: argparse.Namespace, of_set: dict[str, Any], write: Callable[[], None]
) -> None:
    """All trials on a data set that are not there yet; each written as soon as it is over."""
    spec, images = data_of(on), None if on == SPEED else options.images or IMAGES[on]
    if of_set.get("images", images) != images:  # numbers of two budgets are not to stand side by side
        raise SystemExit(
            f"{options.results}: holds trials on {on} of {of_set['images']:,} images, not {images:,}; "
            "give another --results, or remove them"
        )
    if not of_set and on == SPEED:
        of_set |= {"seconds": SECONDS, "trials": {}}
    elif not of_set:
        judge = Judge(open_data(spec), num_fake=SAMPLES[spec])
        of_set |= {"images": images, "protocol": judge.protocol.as_dict(), "data": of_the_data(spec), "trials": {}}
    for number, recipe in enumerate(recipes, 1):
        played = on_points(recipe) if spec == "grid" else recipe
        name = called(recipe.name, dict(options.settings))
        of_recipe = of_set["trials"].get(name, {})
        if of_recipe.get("recipe") != stamp(played):
            of_recipe = of_set["trials"][name] = {"recipe": stamp(played), "seeds": {}}
        for seed in options.seeds:
            if str(seed) in of_recipe["seeds"]:
                continue
            shown = on == "digits" and seed == options.seeds[0] and not options.settings
            picture = options.pictures / f"{recipe.name}.png" if shown else None
            row = clocked(played) if on == SPEED else trial(played, spec, images, seed, picture)
            of_recipe["seeds"][str(seed)] = row
            write()
            print(f"{on} {number}/{len(recipes)} {name} seed {seed}: {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
