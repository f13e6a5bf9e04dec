"""All recipes of the zoo with the same budget, compared; docs/zoo.md is written from the results.

    python benchmarks/zoo.py [--on grid long-grid digits stacked speed] [--only NAME ...] [--images N] [--seeds 0 1 2]
                             [--set PART.OPTION=VALUE] [--write-only]

A trial is `mulligan train` with a recipe, a data set and a seed. The guard is off, so that failures are visible. Each
trial is written to benchmarks/results/zoo.json when it ends; trials of the same recipe and budget that are there are
not run again. Recipes of published sizes, and those that make images from images, are left out. By default `long-grid`
runs some of the recipes: --only names any, or `all`.

grid: 25 Gaussians in a plane. Most networks are for images only. So all recipes have the dense networks of the recipe
`points` here, without augmentation: the comparison is of loss, terms, optimizers, turns, batch and moving average.
long-grid: the same with a budget five times as large, since most recipes have not converged on `grid`.
digits: 28x28; coverage, recall and KID against held-out digits.
stacked: three digits in an image; how many of the 1,000 modes are found.
speed: training steps on digits alone. This trial needs a quiet machine; the others may run beside other work.
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
from mulligan.core.sample import Sample
from mulligan.data import open_data
from mulligan.engine.device import device_setting
from mulligan.engine.memory import keep_freed_memory
from mulligan.kinds.pictures import grid, plot
from mulligan.measure.judge import Judge
from mulligan.metrics.distances import measure
from mulligan.metrics.protocol import extract
from mulligan.runs.build import build_game, recipe_named
from mulligan.runs.plan import samples_per_second
from runs import called, whole
from zoo_page import DATA, PUBLISHED, page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "zoo.json"
PAGE = ROOT / "docs" / "zoo.md"
PICTURES = ROOT / "docs" / "zoo"
SEEDS = [0]
DISPLAYED, COLUMNS, SHADES = 32, 8, 16  # samples in a picture, and its grey levels, so that files are small
SHRUNK = 2  # plots of points, for the same reason


def compared() -> list[Recipe]:
    return [recipe for recipe in mg.recipes() if PUBLISHED not in recipe.about and not recipe.from_images]


def on_points(recipe: Recipe) -> Recipe:
    """A recipe with the networks of `points`, which get classes as its own networks do."""
    points = recipe_named("points")
    class_by = {key: value for key, value in recipe.discriminator.options.items() if key == "class_by"}
    noise = {"z": 0} if recipe.generator.options.get("z") == 0 else {}  # 0: noise of the shape of a sample
    return dataclasses.replace(
        recipe,
        generator=points.generator.with_options(**noise),
        discriminator=points.discriminator.with_options(**class_by),
        augment=Part("none") if "operations" in recipe.augment.options else recipe.augment,
    ).resolve()


def stamp(recipe: Recipe) -> str:
    """A hash of everything in a recipe that a run depends on, in the words of run folders of format 1.

    So it is the same as in results that were written then.
    """
    decisive = {k: value for k, value in recipe.as_json().items() if k not in ("about", "paper", "parent", "budget")}
    return hashlib.blake2b(json.dumps(_in_format_1(decisive), sort_keys=True).encode(), digest_size=6).hexdigest()


def _in_format_1(value: Any) -> Any:
    """Counts were of images: of schedules, and of `ema_clock`."""
    if isinstance(value, dict):
        return {"images" if key == "samples" else key: _in_format_1(each) for key, each in value.items()}
    return "images" if value == "samples" else value


@dataclass(frozen=True)
class Training:
    """Every recipe trained on `data` with the same budget; `samples` of the best checkpoint are measured."""

    data: str
    images: int  # the budget
    samples: int
    pictured: bool = False  # samples of the first seed
    few: tuple[str, ...] = ()  # recipes that are run by default; (): all

    @property
    def budget(self) -> dict[str, Any]:
        return {"images": self.images}

    @property
    def in_plane(self) -> bool:
        return self.data == "grid"

    def recipe_for(self, recipe: Recipe) -> Recipe:
        return on_points(recipe) if self.in_plane else recipe

    def heading(self, pictures: Path) -> dict[str, Any]:
        """The protocol, and the metrics of training samples, which are the best that a generator can reach."""
        data = open_data(self.data)
        judge = Judge(data, num_fake=self.samples)
        records = data.records(data.train[:: len(data.train) // self.samples][: self.samples])
        if self.in_plane:
            save(picture(data.sample, records), pictures / f"{DATA}.png")
        if data.modes:
            best = data.modes.count(records, None)
        else:
            best = measure(judge.real, extract(judge.net, [records], to_net=data.sample.to_net))
        return {"protocol": judge.protocol.as_dict(), "data": best}

    def row(self, recipe: Recipe, seed: int, out: Path | None) -> dict[str, Any]:
        """One run and its numbers; or why there are none. `out` is the file for a picture."""
        read = {"labels": True} if self.in_plane and recipe.task.name == "by-class" else {}
        begun, begun_cpu = time.monotonic(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                run = mg.train(
                    self.data, recipe=recipe, samples=self.images, seed=seed, out=folder, guard="off", quiet=True,
                    read=read,
                )  # fmt: skip
                summary, found = whole(run).summary, self.measured(run)
                if out and self.pictured:
                    records = run.sample(self.samples if self.in_plane else DISPLAYED, seed=1)
                    save(picture(run.sample_kind, records), out)
            except UserError as error:
                return {"refused": str(error)}
            except Exception as error:
                return {"failed": f"{type(error).__name__}: {error}"}
        return {key: round(value, 5) for key, value in found.items()} | {
            "status": summary["status"],
            "parameters": summary["parameters"],
            "by_class": bool(run.classes),
            "seconds": round(time.monotonic() - begun, 1),
            "cpu_seconds": round(
                time.process_time() - begun_cpu, 1
            ),  # with evaluations; does not depend on other work of the machine
        }

    def measured(self, run: mg.Run) -> dict[str, float]:
        """Of the best checkpoint by KID. Raises UserError where the run ended before there was one."""
        modes = run.open_data().modes
        if modes is None:
            return run.evaluate(samples=self.samples)["metrics"]
        return modes.count(torch.cat([made for made, _ in run.draw(self.samples, seed=1)]), None)


@dataclass(frozen=True)
class Timing:
    """Training steps of every recipe, and nothing else."""

    seconds: float
    few: tuple[str, ...] = ()

    @property
    def budget(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def recipe_for(self, recipe: Recipe) -> Recipe:
        return recipe

    def heading(self, pictures: Path) -> dict[str, Any]:
        return {}

    def row(self, recipe: Recipe, seed: int, out: Path | None) -> dict[str, Any]:
        """Its speed, and the load of the machine."""
        game = build_game(recipe, open_data("digits"), seed=seed, setting=device_setting("cpu", "fp32"))
        with keep_freed_memory():  # as in training
            speed = samples_per_second(game, self.seconds)
        return {"images_per_second": round(speed, 1), "load": round(os.getloadavg()[0], 2)}


CONTESTS: dict[str, Training | Timing] = {  # as many samples as papers take; of digits, as many as are held out
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


def picture(sample: Sample, records: Tensor) -> Image.Image:
    """A grid of images at their own size, or a small plot of all points."""
    sheet = grid(records, columns=COLUMNS, scale=1) if sample.kind == "image" else plot(records).reduce(SHRUNK)
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
        "--set",
        action="append",
        default=[],
        dest="settings",
        type=parse_setting,
        help="change the recipes; trials are named after it",
    )
    arguments.add_argument(
        "--write-only", action="store_true", help="write docs/zoo.md from the results, and run nothing"
    )
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
            run_all(chosen, on, contest, options, found.setdefault(on, {}), write)
    write()


def wanted(name: str, few: tuple[str, ...], only: list[str]) -> bool:
    return name in only or "all" in only or (not only and name in (few or [name]))


def run_all(
    recipes: list[Recipe],
    on: str,
    contest: Training | Timing,
    options: argparse.Namespace,
    of_contest: dict[str, Any],
    write: Callable[[], None],
) -> None:
    """Run the trials of a contest that are not there yet; each row is written when it is known."""
    pictures = options.pictures / on
    if not of_contest:
        of_contest |= contest.budget | contest.heading(pictures) | {"trials": {}}
    budget = {key: of_contest[key] for key in contest.budget}
    if budget != contest.budget:  # numbers of two budgets do not compare
        raise SystemExit(
            f"{options.results}: has trials on {on} of {budget}, not {contest.budget}; "
            "give another --results, or remove them"
        )
    for number, recipe in enumerate(recipes, 1):
        trained = contest.recipe_for(recipe)
        name = called(recipe.name, dict(options.settings))
        of_recipe = of_contest["trials"].get(name, {})
        if of_recipe.get("recipe") != stamp(trained):
            of_recipe = of_contest["trials"][name] = {"recipe": stamp(trained), "seeds": {}}
        for seed in options.seeds:
            if str(seed) in of_recipe["seeds"]:
                continue
            pictured = seed == options.seeds[0] and not options.settings
            row = contest.row(trained, seed, pictures / f"{recipe.name}.png" if pictured else None)
            of_recipe["seeds"][str(seed)] = row
            write()
            print(f"{on} {number}/{len(recipes)} {name} seed {seed}: {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
