"""Choosing what the user did not: networks and numbers for these data, on this machine, in this time, and why.

A choice is a change to the recipe in the form of `--set`, with its reason. What the user set is left alone. Networks
are chosen by timed steps, and might come out otherwise another time, so what was chosen is kept with the run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mulligan.runs.build import build_game, pick_device, pick_precision
from mulligan.runs.plan import images_per_second
from mulligan.core.recipe import FROM_NOISE, Recipe, typed
from mulligan.data import Data, Dealt, open_data
from mulligan.data.points import MIXTURES
from mulligan.engine.memory import memory_size, peak_memory

SIDE = {"cpu": 64, "mps": 128, "cuda": 256}  # larger images are brought to this: they would be seen too seldom
WIDTHS = (32, 48, 64, 96, 128)  # of G; D has half
ENOUGH = 300_000  # images that the narrowest want before wider ones are worth their time; wider: as the square
TIMED = 1.0  # seconds of steps that each is timed by
FASTER = 1.3  # a batch twice as large must be so much faster to be worth half the steps
STEPS = 10_000  # that no batch may leave fewer of
CROWDED = 0.5  # share of memory from which nothing larger is tried
PENALTIES = ("terms.r1.weight", "terms.r2.weight")
GAMMA = 0.5 / 28**2  # their weight per pixel: what suits 28x28
RATE = 2e-3 * 28  # learning rate times the side: 2e-3 suits 28x28, and wrecks the deeper networks of 64x64
OFTEN = 60  # epochs from which augmentation pays: at 35 it cost hand signs, at 60 it cost digits nothing (measured.md)
AUGMENT = {"augment": "ada", "augment.operations": "shift,scale,stretch,slide,brightness,contrast"}


def inspect(
    data: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    labels: bool = False,
    channels: int | None = None,
    max_bad: float = 0.10,
    pairs: bool = False,
) -> Data:
    """The data set as training sees it where no recipe is named; arguments and errors are those of `open_data`."""
    fit = SIDE[pick_device().type]
    return open_data(data, size=size, labels=labels, channels=channels, max_bad=max_bad, fit=fit, pairs=pairs)


def begin_with(data: str | Path, settings: Mapping[str, Any] | None = None) -> str:
    """The recipe that choices start from, by the data, and by the task if the user set one."""
    task = (settings or {}).get("task", FROM_NOISE[0])
    name = task.get("name") if isinstance(task, Mapping) else task
    if name not in FROM_NOISE:
        return "restyle" if name == "style" else "restore"
    return "points" if data in MIXTURES else "digits"


class Choice(NamedTuple):
    """Settings as `--set` takes them, and the reason."""

    settings: dict[str, Any]
    why: str

    def __str__(self) -> str:
        return f"chosen: {typed(self.settings)}: {self.why}"


def choose(
    recipe: Recipe, data: Dealt, *, device: torch.device, seed: int, own: Collection[str] = ()
) -> tuple[Recipe, list[Choice]]:
    """The recipe made to fit, and what was changed in it. `own` are the paths that the user set."""
    if len(data.shape) != 3 or recipe.from_images:  # points need no more than they begin with, restoring not much
        return recipe, []
    chosen: list[Choice] = []

    def free(*paths: str) -> bool:
        return not any(_touches(path, mine) for path in paths for mine in own)

    def take(choice: Choice) -> None:
        nonlocal recipe
        recipe = recipe.with_set(choice.settings)
        chosen.append(choice)

    timed: dict[str, float] = {}

    def lasts(settings: Mapping[str, Any] = {}) -> float:
        candidate = recipe.with_set(settings)
        known = repr(candidate)
        if known not in timed:
            timed[known] = _images(candidate, data, device, seed)
        return timed[known]

    if penalties := [path for path in PENALTIES if free(path)]:
        take(_penalties(data, penalties))
    if free("optimizer.generator.lr", "optimizer.discriminator.lr"):
        take(_rate(data))
    if free("generator.width", "discriminator.width"):
        take(_networks(lasts, device))
    if recipe.budget.minutes is not None and free("batch"):
        take(_batch(recipe.batch, lasts, device))
    if free("augment"):
        take(_augmentation(lasts() / len(data.train)))
    return dataclasses.replace(recipe, name="auto"), chosen


def _touches(path: str, mine: str) -> bool:
    """Whether one of two dotted paths holds the other."""
    return f"{path}.".startswith(f"{mine}.") or f"{mine}.".startswith(f"{path}.")


def _images(recipe: Recipe, data: Dealt, device: torch.device, seed: int) -> float:
    """How many images a recipe's budget lasts for, about; 0 if it finds no memory. Only minutes need timing."""
    budget = recipe.budget
    limits = [budget.images or math.inf, (budget.epochs or math.inf) * len(data.train)]
    if budget.minutes is not None:
        precision = pick_precision(recipe.precision, device)
        try:
            game = build_game(recipe, data, seed=seed, device=device, precision=precision)
            limits.append(60 * budget.minutes * images_per_second(game, TIMED))
        except torch.OutOfMemoryError:
            return 0.0
    return min(limits)


def _penalties(data: Dealt, paths: Collection[str]) -> Choice:
    """R1 and R2 by the number of pixels: the more share a change of the picture, the smaller the gradient by each."""
    _, height, width = data.shape
    weight = float(f"{GAMMA * height * width:.2g}")
    return Choice(dict.fromkeys(paths, weight), f"in proportion to {height} x {width} pixels")


def _rate(data: Dealt) -> Choice:
    """Smaller steps for larger pictures, whose networks are deeper. Down to zero with the budget, as ever."""
    side = min(data.shape[1:])
    rate = f"cosine({min(2e-3, RATE / side):.2g}, 0)"
    settings = {f"optimizer.{player}.lr": rate for player in ("generator", "discriminator")}
    return Choice(settings, f"smaller steps for larger pictures, and theirs is a side of {side}")


def _crowded(device: torch.device) -> bool:
    return peak_memory(device) > CROWDED * (memory_size(device) or math.inf)


def _networks(lasts: Callable[[dict[str, Any]], float], device: torch.device) -> Choice:
    """The widest that are shown enough images in the time: wide ones make more of each, and see fewer."""
    chosen: dict[str, Any] = {}
    why = ""
    for width in WIDTHS:
        if chosen and _crowded(device):
            why += f"; width {width} might not fit into memory"
            break
        settings = {"generator.width": width, "discriminator.width": width // 2}
        images, wanted = lasts(settings), ENOUGH * (width / WIDTHS[0]) ** 2
        if chosen and images < wanted:
            why += f"; width {width} would be shown {_about(images)} of the {_about(wanted)} that it wants"
            break
        chosen, why = settings, f"the budget is {_about(images)} images"
    return Choice(chosen, why)


def _batch(batch: int, lasts: Callable[[dict[str, Any]], float], device: torch.device) -> Choice:
    """As large as makes the device much faster, and no larger: images are worth more in more steps."""
    images = lasts({})
    if not images:
        while not images and batch > 1:
            batch //= 2
            images = lasts({"batch": batch})
        return Choice({"batch": batch}, "more does not fit into memory")
    while not _crowded(device):
        more = lasts({"batch": 2 * batch})
        if more < FASTER * images:
            return Choice({"batch": batch}, f"{2 * batch} would be but {more / images:.2g} times as fast")
        if more < STEPS * 2 * batch:
            return Choice({"batch": batch}, f"{2 * batch} would leave {_about(more / 2 / batch)} steps")
        batch, images = 2 * batch, more
    return Choice({"batch": batch}, "more might not fit into memory")


def _about(count: float) -> str:
    """Two digits of it: a timed number is no better known."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _augmentation(epochs: float) -> Choice:
    """Adaptive where D would else go by heart; without the operations that would show in what is generated."""
    if epochs < OFTEN:
        return Choice({"augment": "none"}, f"each image is shown {epochs:.1f} times: not by heart yet")
    return Choice(AUGMENT, f"each image is shown {epochs:,.0f} times")
