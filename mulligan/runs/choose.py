"""Choosing what the user did not: networks and numbers for these data, on this machine, in this time; and why.

A choice is a change to the recipe in the form of `--set`, with its reason. What the user set is left alone. Networks
are chosen by timed steps, which may give another result another time, so what was chosen is kept with the run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mulligan.core import registry
from mulligan.core.recipe import Recipe, typed
from mulligan.data import Dataset, open_data, reader_of
from mulligan.engine.device import device_setting, pick_device
from mulligan.engine.memory import memory_size, peak_memory
from mulligan.runs.build import build_game
from mulligan.runs.plan import samples_per_second

TUNED = ("digits",)  # recipes that choices are made for: their networks are of images
SIDE = {
    "cpu": 64,
    "mps": 128,
    "cuda": 256,
}  # pixels that the shorter side of larger images is scaled down to
WIDTHS = (32, 48, 64, 96, 128)  # of G; D has half
ENOUGH = 300_000  # samples that the narrowest need before wider ones are worth their time; wider: as the square
TIMED = 1.0  # seconds of steps that each is timed by
FASTER = 1.3  # a batch twice as large must be so much faster to be worth half the steps
STEPS = 10_000  # that no batch may leave fewer of
CROWDED = 0.5  # share of memory in use from which nothing larger is tried
PENALTIES = ("terms.r1.weight", "terms.r2.weight")
GAMMA = 0.5 / 28**2  # their weight per pixel: what suits 28x28
RATE = 2e-3 * 28  # learning rate times the side: 2e-3 suits 28x28, and wrecks the deeper networks of 64x64
OFTEN = 60  # epochs from which augmentation helps: it harmed hand signs at 35, not digits at 60 (measured.md)
AUGMENT = {"augment": "ada", "augment.operations": "shift,scale,stretch,slide,brightness,contrast"}


def fitting(read: Mapping[str, Any], reader: str, device: str) -> dict[str, Any]:
    """Options of a reader, with a size that can be learnt in the time there is where none is given."""
    if read.get("size") or "fit" not in registry.readers.defaults(reader):
        return dict(read)
    return {**read, "fit": SIDE[pick_device(device).type]}


def inspect(data: str | Path, *, read: Mapping[str, Any] | None = None, reader: str = "auto") -> Dataset:
    """The data set as training sees it where no recipe is named.

    `read` are options of its reader (`mulligan parts reader`); `reader="pairs"` opens it as pairs. Raises UserError as
    `data.open_data` does.
    """
    name = reader_of(data) if reader == "auto" else reader
    return open_data(data, reader=name, **fitting(read or {}, name, "auto"))


def begin_with(reader: str, settings: Mapping[str, Any]) -> str:
    """The recipe that choices start from: by the task if the user set one that names it, else by the kind of data."""
    task = settings.get("task")
    name = task.get("name") if isinstance(task, Mapping) else task
    if name is not None and (recipe := registry.tasks.declared(str(name)).recipe):
        return recipe
    (kind, *_) = sorted(registry.readers.declared(reader).kinds or {"image"})
    return registry.kinds[kind].recipe


class Choice(NamedTuple):
    """Settings as `--set` takes them, and the reason."""

    settings: dict[str, Any]
    why: str

    def __str__(self) -> str:
        return f"chosen: {typed(self.settings)}: {self.why}"


def choose(
    recipe: Recipe, data: Dataset, *, device: str, seed: int, own: Collection[str] = ()
) -> tuple[Recipe, list[Choice]]:
    """The recipe made to fit, and what was changed in it. `own` are the paths that the user set.

    Only `TUNED` recipes are: points need no more than what they begin with, restoration not much.
    """
    if recipe.name not in TUNED:
        return recipe, []
    on = pick_device(device)
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
            timed[known] = _lasting(candidate, data, device, seed)
        return timed[known]

    if penalties := [path for path in PENALTIES if free(path)]:
        take(_penalties(data, penalties))
    if free("optimizer.generator.lr", "optimizer.discriminator.lr"):
        take(_rate(data))
    if free("generator.width", "discriminator.width"):
        take(_networks(lasts, on))
    if recipe.budget.minutes is not None and free("batch"):
        take(_batch(recipe.batch, lasts, on))
    if free("augment"):
        take(_augmentation(lasts() / len(data.train)))
    return dataclasses.replace(recipe, name="auto"), chosen


def _touches(path: str, mine: str) -> bool:
    """Whether one of two dotted paths holds the other."""
    return f"{path}.".startswith(f"{mine}.") or f"{mine}.".startswith(f"{path}.")


def _lasting(recipe: Recipe, data: Dataset, device: str, seed: int) -> float:
    """How many samples a recipe's budget lasts for, about; 0 if it finds no memory. Only minutes need timing."""
    budget = recipe.budget
    limits = [budget.samples or math.inf, (budget.epochs or math.inf) * len(data.train)]
    if budget.minutes is not None:
        try:
            game = build_game(recipe, data, seed=seed, setting=device_setting(device, recipe.precision))
            limits.append(60 * budget.minutes * samples_per_second(game, TIMED))
        except torch.OutOfMemoryError:
            return 0.0
    return min(limits)


def _penalties(data: Dataset, paths: Collection[str]) -> Choice:
    """R1 and R2 in proportion to the number of pixels: the more share a change, the smaller the gradient of each."""
    _, height, width = data.shape
    weight = float(f"{GAMMA * height * width:.2g}")
    return Choice(dict.fromkeys(paths, weight), f"in proportion to {height} x {width} pixels")


def _rate(data: Dataset) -> Choice:
    """Smaller steps for larger pictures, whose networks are deeper. They decay to zero with the budget."""
    side = min(data.shape[1:])
    rate = f"cosine({min(2e-3, RATE / side):.2g}, 0)"
    settings = {f"optimizer.{player}.lr": rate for player in ("generator", "discriminator")}
    return Choice(settings, f"smaller steps for larger pictures, and theirs is a side of {side}")


def _crowded(device: torch.device) -> bool:
    return peak_memory(device) > CROWDED * (memory_size(device) or math.inf)


def _networks(lasts: Callable[[dict[str, Any]], float], device: torch.device) -> Choice:
    """The widest that see enough samples in the time: wide ones learn more from each, and see fewer."""
    chosen: dict[str, Any] = {}
    why = ""
    for width in WIDTHS:
        if chosen and _crowded(device):
            why += f"; width {width} might not fit into memory"
            break
        settings = {"generator.width": width, "discriminator.width": width // 2}
        samples, wanted = lasts(settings), ENOUGH * (width / WIDTHS[0]) ** 2
        if chosen and samples < wanted:
            why += f"; width {width} would see {_about(samples)} of the {_about(wanted)} that it needs"
            break
        chosen, why = settings, f"the budget is {_about(samples)} images"
    return Choice(chosen, why)


def _batch(batch: int, lasts: Callable[[dict[str, Any]], float], device: torch.device) -> Choice:
    """As large as makes the device much faster, and no larger: samples teach more in more steps."""
    images = lasts({})
    if not images:
        while not images and batch > 1:
            batch //= 2
            images = lasts({"batch": batch})
        return Choice({"batch": batch}, "more does not fit into memory")
    while not _crowded(device):
        more = lasts({"batch": 2 * batch})
        if more < FASTER * images:
            return Choice({"batch": batch}, f"{2 * batch} would be only {more / images:.2g} times as fast")
        if more < STEPS * 2 * batch:
            return Choice({"batch": batch}, f"{2 * batch} would leave {_about(more / 2 / batch)} steps")
        batch, images = 2 * batch, more
    return Choice({"batch": batch}, "more might not fit into memory")


def _about(count: float) -> str:
    """Two digits of it: a timed number is no better known."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _augmentation(epochs: float) -> Choice:
    """Adaptive where D would otherwise memorise; without the operations that would show in the samples."""
    if epochs < OFTEN:
        return Choice({"augment": "none"}, f"each image is seen {epochs:.1f} times: too few to memorise")
    return Choice(AUGMENT, f"each image is seen {epochs:,.0f} times")
