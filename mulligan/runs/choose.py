"""Automatic choices: networks and numbers for the data, the machine and the available time, with reasons.

A choice is a change to the recipe in the form of `--set`, with its reason. Settings of the user are never changed.
Networks are chosen by timing steps, which may give another result another time, so the choices are saved with the run.
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

TUNED = ("digits",)  # recipes that choices are made for: their networks are for images
SIDE = {"cpu": 64, "mps": 128, "cuda": 256}  # pixels that the shorter side of larger images is scaled down to
WIDTHS = (32, 48, 64, 96, 128)  # of G; D has half
ENOUGH = 300_000  # samples that the narrowest width needs; others need more, with the square of the width
TIMED = 1.0  # seconds of steps by which each candidate is timed
FASTER = 1.3  # factor by which a batch twice as large must be faster, since it halves the number of steps
STEPS = 10_000  # the fewest steps that a batch size must leave
CROWDED = 0.5  # share of memory in use above which nothing larger is tried
PENALTIES = ("terms.r1.weight", "terms.r2.weight")
GAMMA = 0.5 / 28**2  # their weight per pixel: tuned for 28x28
RATE = 2e-3 * 28  # learning rate times the side: 2e-3 is good for 28x28, and too high for the networks of 64x64
OFTEN = 60  # epochs from which augmentation helps: it harmed hand signs at 35, not digits at 60 (measured.md)
AUGMENT = {"augment": "ada", "augment.operations": "shift,scale,stretch,slide,brightness,contrast"}


def fitting(read: Mapping[str, Any], reader: str, device: str) -> dict[str, Any]:
    """Options of a reader. If no size is given, larger images are scaled down to a size that this device can train."""
    if read.get("size") or "fit" not in registry.readers.defaults(reader):
        return dict(read)
    return {**read, "fit": SIDE[pick_device(device).type]}


def inspect(data: str | Path, *, read: Mapping[str, Any] | None = None, reader: str = "auto") -> Dataset:
    """The data set as training sees it if no recipe is named.

    `read` are options of its reader (`mulligan parts reader`); `reader="pairs"` opens it as pairs. Raises UserError as
    `data.open_data` does.
    """
    name = reader_of(data) if reader == "auto" else reader
    return open_data(data, reader=name, **fitting(read or {}, name, "auto"))


def task_set(settings: Mapping[str, Any]) -> str | None:
    """The name of the task that the user set, if any."""
    task = settings.get("task")
    name = task.get("name") if isinstance(task, Mapping) else task
    return None if name is None else str(name)


def begin_with(reader: str, settings: Mapping[str, Any]) -> str:
    """The recipe that choices start from: that of the task, if the user set one that has any; else that of the data."""
    name = task_set(settings)
    if name is not None and (recipe := registry.tasks.declared(name).recipe):
        return recipe
    (kind, *_) = sorted(registry.readers.declared(reader).kinds or {"image"})
    return registry.kinds[kind].recipe


class Choice(NamedTuple):
    """Settings in the form of `--set`, and the reason for them."""

    settings: dict[str, Any]
    why: str

    def __str__(self) -> str:
        return f"chosen: {typed(self.settings)}: {self.why}"


def choose(
    recipe: Recipe, data: Dataset, *, device: str, seed: int, own: Collection[str] = ()
) -> tuple[Recipe, list[Choice]]:
    """The recipe adapted to the data, and the changes to it. `own` are the paths that the user set.

    Only `TUNED` recipes are adapted: those of points need no changes, those of restoration few.
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

    def samples_with(settings: Mapping[str, Any] = {}) -> float:
        candidate = recipe.with_set(settings)
        known = repr(candidate)
        if known not in timed:
            timed[known] = _samples_in_budget(candidate, data, device, seed)
        return timed[known]

    if penalties := [path for path in PENALTIES if free(path)]:
        take(_penalties(data, penalties))
    if free("optimizer.generator.lr", "optimizer.discriminator.lr"):
        take(_rate(data))
    if free("generator.width", "discriminator.width"):
        take(_networks(samples_with, on))
    if recipe.budget.minutes is not None and free("batch"):
        take(_batch(recipe.batch, samples_with, on))
    if free("augment"):
        take(_augmentation(samples_with() / len(data.train)))
    return dataclasses.replace(recipe, name="auto"), chosen


def _touches(path: str, mine: str) -> bool:
    """Whether one of two dotted paths contains the other."""
    return f"{path}.".startswith(f"{mine}.") or f"{mine}.".startswith(f"{path}.")


def _samples_in_budget(recipe: Recipe, data: Dataset, device: str, seed: int) -> float:
    """About how many samples a recipe's budget allows; 0 if memory is too small. Only a limit in minutes is timed."""
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
    """R1 and R2 in proportion to the number of pixels: the more pixels share a change, the smaller their gradients."""
    _, height, width = data.shape
    weight = float(f"{GAMMA * height * width:.2g}")
    return Choice(dict.fromkeys(paths, weight), f"weights in proportion to {height} x {width} pixels")


def _rate(data: Dataset) -> Choice:
    """Lower learning rates for larger pictures, whose networks are deeper. They decay to zero over the budget."""
    side = min(data.shape[1:])
    rate = f"cosine({min(2e-3, RATE / side):.2g}, 0)"
    settings = {f"optimizer.{player}.lr": rate for player in ("generator", "discriminator")}
    return Choice(settings, f"lower learning rates for larger pictures; these have a side of {side} pixels")


def _crowded(device: torch.device) -> bool:
    return peak_memory(device) > CROWDED * (memory_size(device) or math.inf)


def _networks(samples_with: Callable[[dict[str, Any]], float], device: torch.device) -> Choice:
    """The widest networks that see enough samples in the time: wide ones learn more from each, but see fewer."""
    chosen: dict[str, Any] = {}
    why = ""
    for width in WIDTHS:
        if chosen and _crowded(device):
            why += f"; width {width} might not fit into memory"
            break
        settings = {"generator.width": width, "discriminator.width": width // 2}
        samples, wanted = samples_with(settings), ENOUGH * (width / WIDTHS[0]) ** 2
        if chosen and samples < wanted:
            why += f"; width {width} would see only {_about(samples)} of the {_about(wanted)} that it needs"
            break
        chosen, why = settings, f"the budget allows {_about(samples)} images"
    return Choice(chosen, why)


def _batch(batch: int, samples_with: Callable[[dict[str, Any]], float], device: torch.device) -> Choice:
    """The largest batch that still makes the device much faster: the same samples teach more in more steps."""
    samples = samples_with({})
    if not samples:
        while not samples and batch > 1:
            batch //= 2
            samples = samples_with({"batch": batch})
        return Choice({"batch": batch}, "a larger batch does not fit into memory")
    while not _crowded(device):
        doubled = samples_with({"batch": 2 * batch})
        if doubled < FASTER * samples:
            return Choice({"batch": batch}, f"{2 * batch} would be only {doubled / samples:.2g} times as fast")
        if doubled < STEPS * 2 * batch:
            return Choice({"batch": batch}, f"{2 * batch} would leave only {_about(doubled / 2 / batch)} steps")
        batch, samples = 2 * batch, doubled
    return Choice({"batch": batch}, "a larger batch might not fit into memory")


def _about(count: float) -> str:
    """Rounded to two digits: timed numbers are not more exact."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _augmentation(epochs: float) -> Choice:
    """Adaptive if D would otherwise memorise; without the operations that would leak into the samples."""
    if epochs < OFTEN:
        return Choice({"augment": "none"}, f"each image is seen {epochs:.1f} times, too few for memorisation")
    return Choice(AUGMENT, f"each image is seen {epochs:,.0f} times")
