"""From a recipe, which is data, to a game that can be played."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mulligan.runs.dealing import dealer
from mulligan.core import registry
from mulligan.core.batch import Batch, Shown, to_float
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part, Recipe, Term
from mulligan.core.run import read_json
from mulligan.core.seeding import endless_order, mix
from mulligan.core.step import Penalty, Rule
from mulligan.data import Dealt
from mulligan.engine.ema import MovingAverage
from mulligan.engine.loop import Game
from mulligan.engine.optim import Tuned
from mulligan.engine.turn import Player
from mulligan.models.ways import BothDiscriminators, BothGenerators

PART_PACKAGES = ("terms", "models", "augment", "tasks", "zoo", "metrics")
PART_MODULES = ("losses", "engine.optim")


@functools.cache
def load_parts() -> None:
    """Import every module that registers parts, so that names can be looked up. A new file needs no entry anywhere."""
    for name in PART_MODULES:
        importlib.import_module(f"mulligan.{name}")
    for name in PART_PACKAGES:
        package = importlib.import_module(f"mulligan.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def recipe_named(recipe: str | Path | Recipe | None, settings: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, by JSON file, or as it is; with `settings` applied, resolved.

    A task that it has already, and that is only named, stays as it is: `--recipe cut --task style` is `cut`.
    """
    load_parts()
    match recipe:
        case Recipe():
            found = recipe
        case None:
            found = registry.recipes["digits"]()
        case str(name) if name in registry.recipes:
            found = registry.recipes[name]()
        case path if Path(path).suffix == ".json":
            found = Recipe.read(read_json(Path(path)), where=str(path))
        case name:
            found = registry.recipes[str(name)]()  # refuses, with the nearest names
    return found.with_set({path: v for path, v in (settings or {}).items() if (path, v) != ("task", found.task.name)})


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is the fastest of CUDA, MPS and the CPU that is here."""
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if here["cuda"] else "mps" if here["mps"] else "cpu")
    kind = name.partition(":")[0]
    if kind not in here:
        raise UserError(f"--device {name}: valid: auto, {', '.join(here)}")
    if not here[kind]:
        raise UserError(f"--device {name}: this machine has none that torch can use; --device auto takes what is here")
    return torch.device(name)


def make_repeatable(device: torch.device) -> None:
    """The same bits for the same position, on this device: cuDNN would else choose its algorithms by a race."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def pick_precision(wanted: str, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that computes in it, else fp32."""
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if wanted == "fp16" and device.type != "cuda":
        raise UserError(f"precision=fp16 needs a CUDA device, this run is on {device.type}; use bf16 or fp32")
    return wanted


def autocast_for(precision: str, device: torch.device) -> Callable[[], contextlib.AbstractContextManager]:
    if precision == "fp32":
        return contextlib.nullcontext
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return lambda: torch.autocast(device.type, dtype)


def build_networks(
    recipe: Recipe, shape: tuple[int, ...], classes: int, device: torch.device, shown: Shown | None = None
) -> tuple[nn.Module, nn.Module]:
    """G and D with their initial weights, a function of the recipe's parts and torch's seed.

    `shown` is the image that both are given, if any; where it says a side, each is two networks, one for each. Raises
    UserError for networks that take none, or need one.
    """
    pairs = (recipe.generator, registry.generators), (recipe.discriminator, registry.discriminators)
    for part, kind in pairs:
        refuse_other_sight(part, kind, recipe.task.name, shown)
    if shown and shown.sides:
        context = (shape, classes, shown._replace(channels=shown.channels - 1, sides=False))
        each = [[part.build(kind, *context) for _ in range(2)] for part, kind in pairs]
        G, D = BothGenerators(each[0]), BothDiscriminators(each[1])
    else:
        context = (shape, classes, *([shown] if shown else []))
        G, D = (part.build(kind, *context) for part, kind in pairs)
    # channels-last: what oneDNN and cuDNN compute images in, so nothing is reordered on the way
    layout = torch.channels_last if len(shape) == 3 else torch.preserve_format
    return G.to(device, memory_format=layout), D.to(device, memory_format=layout)


def refuse_other_sight(part: Part, kind: registry.Registry, task: str, shown: Shown | None) -> None:
    """Raises UserError for a network that takes no image where it is shown one, or none where it needs one."""
    takes = {name for name in kind if "shown" in inspect.signature(kind[name]).parameters}
    if shown and part.name not in takes:
        raise UserError(
            f"task={task}: {kind.kind} {part.name!r} is shown no images; set {kind.kind}={min(takes)}, "
            f"valid: {', '.join(sorted(takes))}; or leave --recipe out"
        )
    if not shown and part.name in takes:
        raise UserError(
            f"{kind.kind} {part.name!r} makes an image from another, and task={task} shows it none; "
            "give --task, for example --task inpaint"
        )


def build_rules(terms: Mapping[str, Term]) -> dict[str, tuple[Term, Rule]]:
    return {name: (term, Part(name, **term.options).build(registry.terms)) for name, term in terms.items()}


def build_game(
    recipe: Recipe, data: Dealt, *, seed: int, device: torch.device, precision: str, attempt: int = 0
) -> Game:
    """Everything the loop plays with, at the beginning of an attempt."""
    make_repeatable(device)
    torch.manual_seed(mix("weights", seed, attempt))
    task = recipe.task.build(registry.tasks, data)
    G, D = build_networks(recipe, data.shape, task.classes, device, task.shown)
    augment = recipe.augment.build(registry.augmentations)
    if task.shown and not task.shown.unpaired and augment.moves:  # else D sees pictures alone
        raise UserError(
            f"augment={recipe.augment.name} would move images away from what G was shown; set augment=none, or jitter"
        )
    if augment.dealt and len(data.shape) != 3:
        raise UserError(f"augment={recipe.augment.name} is for images; samples here are {data.shape}; set augment=none")
    pairs = dealer(task, data, device, seed, augment.dealt) if task.shown else None
    rules = build_rules(recipe.terms)
    alike = [name for name, (_, rule) in rules.items() if isinstance(rule, Penalty) and rule.paired]
    if task.shown and task.shown.unpaired and alike:
        raise UserError(
            f"task={recipe.task.name}: the term {alike[0]} compares what G makes with what was wanted, and here nobody "
            f"knows that; set terms.{alike[0]}=none, or leave --recipe out"
        )

    def player(side: str, net: nn.Module, part: Part) -> Player:
        return Player(
            side=side,
            net=net.train(),
            tuned=Tuned(part, net.parameters()),
            rules={name: (term, rule) for name, (term, rule) in rules.items() if rule.side in (side, "both")},
            scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        )

    def batch_of(indices: np.ndarray) -> Batch:
        batch = task.batch(indices)
        cond = None if batch.cond is None else batch.cond.to(device)
        return Batch(to_float(batch.real.to(device, non_blocking=True)), cond)

    def deal(position: int, count: int) -> Batch:
        if pairs:
            return pairs.train(position, count)
        batch = batch_of(data.train[endless_order(len(data.train), seed, position, count)])
        if not augment.dealt:
            return batch
        dice = torch.Generator(device).manual_seed(mix("vary", seed, position))
        return Batch(augment.dealt(batch.real, dice), batch.cond)

    g = player("g", G, recipe.optimizer.generator)
    return Game(
        g=g,
        d=player("d", D, recipe.optimizer.discriminator),
        ema=MovingAverage(G),
        ema_half_life=recipe.ema,
        ema_clock=g.tuned.pace if recipe.ema_clock == "learning" else lambda seen, budget: 1.0,
        loss=recipe.loss.build(registry.losses),
        augment=augment,
        deal=deal,
        unseen=pairs.heldout if pairs else lambda count: batch_of(data.heldout[:count]),
        z_shape=G.z_shape,
        class_counts=tuple(data.class_counts) if task.classes else (),
        device=device,
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        d_turns=recipe.d_turns,
        share_fakes=recipe.share_fakes,
        autocast=autocast_for(precision, device),
        seed=seed,
    )


def parameters_of(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
