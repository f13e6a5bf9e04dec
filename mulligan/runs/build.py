"""Builds a game, which can be trained, from a recipe, which is data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mulligan.core import registry
from mulligan.core.condition import ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Part, Recipe, Term
from mulligan.core.run import read_json
from mulligan.core.sample import Sample
from mulligan.core.seeding import mix
from mulligan.core.step import Penalty, Rule, Side
from mulligan.data import Dataset
from mulligan.engine.ahead import prepared_ahead
from mulligan.engine.device import DeviceSetting
from mulligan.engine.ema import MovingAverage
from mulligan.engine.loop import Game
from mulligan.engine.optim import ScheduledOptimizer
from mulligan.engine.turn import Player
from mulligan.models.two_way import TwoWayDiscriminator, TwoWayGenerator
from mulligan.runs.dealing import Dealer
from mulligan.runs.parts import load_parts


def recipe_named(recipe: str | Path | Recipe | None, settings: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name or JSON file, or a Recipe; with `settings` applied, resolved.

    To name the task that it has already does not reset the task's options: `--recipe cut --task style` is `cut`.
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
            found = registry.recipes[str(name)]()  # raises UserError with the nearest names
    return found.with_set({path: v for path, v in (settings or {}).items() if (path, v) != ("task", found.task.name)})


def build_networks(
    recipe: Recipe, sample: Sample, condition: ConditionSpec, setting: DeviceSetting
) -> tuple[Generator, Discriminator]:
    """G and D with their initial weights, which depend on the recipe's parts and on torch's seed.

    If the condition has a side, each consists of two networks, one for each side. Raises UserError for networks that
    do not take these samples or this condition.
    """
    parts = (recipe.generator, registry.generators), (recipe.discriminator, registry.discriminators)
    one_way = condition.without("side")
    for part, kind in parts:
        registry.refuse(kind, part.name, sample, one_way)
    if "side" in condition:
        each = [[part.build(kind, sample, one_way) for _ in range(2)] for part, kind in parts]
        G, D = TwoWayGenerator(each[0]), TwoWayDiscriminator(each[1])
    else:
        G, D = (part.build(kind, sample, condition) for part, kind in parts)
    # the memory layout that oneDNN and cuDNN use, so that they do not reorder tensors
    layout = setting.memory_format(sample.axes)
    return G.to(setting.device, memory_format=layout), D.to(setting.device, memory_format=layout)


def build_rules(terms: Mapping[str, Term]) -> dict[str, tuple[Term, Rule]]:
    return {name: (term, Part(name, **term.options).build(registry.terms)) for name, term in terms.items()}


def build_game(recipe: Recipe, data: Dataset, *, seed: int, setting: DeviceSetting, attempt: int = 0) -> Game:
    """The game at the beginning of an attempt: everything that the training loop needs."""
    setting.make_repeatable()
    torch.manual_seed(mix("weights", seed, attempt))
    for part, kind in ((recipe.task, registry.tasks), (recipe.augment, registry.augmentations)):
        registry.refuse(kind, part.name, data.sample)
    for name in recipe.terms:
        registry.refuse(registry.terms, name, data.sample)
    task = recipe.task.build(registry.tasks, data)
    G, D = build_networks(recipe, data.sample, task.condition, setting)
    augment = recipe.augment.build(registry.augmentations)
    rules = build_rules(recipe.terms)
    _refuse_mismatch(recipe, task.condition, augment.changes_views, rules)
    dealer = Dealer(task, data, setting.device, seed, augment.vary)

    def player(side: Side, net: nn.Module, part: Part) -> Player:
        return Player(
            side=side,
            net=net.train(),
            scheduled=ScheduledOptimizer(part, net.parameters()),
            rules={name: (term, rule) for name, (term, rule) in rules.items() if rule.side in (side, "both")},
            scaler=setting.scaler(),
        )

    g = player("g", G, recipe.optimizer.generator)
    average = MovingAverage(G)  # copied before G is compiled
    setting.compile_networks([G, D], [rule for _, rule in rules.values()])
    return Game(
        g=g,
        d=player("d", D, recipe.optimizer.discriminator),
        ema=average,
        ema_half_life=recipe.ema,
        ema_clock=g.scheduled.pace if recipe.ema_clock == "learning" else lambda seen, budget: 1.0,
        loss=recipe.loss.build(registry.losses),
        augment=augment,
        train_batch=prepared_ahead(dealer.train, setting.device),
        heldout_batch=dealer.heldout,
        z_shape=G.z_shape,
        device=setting.device,
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        d_turns=recipe.d_turns,
        share_fakes=recipe.share_fakes,
        autocast=setting.autocast,
        seed=seed,
    )


def _refuse_mismatch(
    recipe: Recipe, condition: ConditionSpec, changes_views: bool, rules: Mapping[str, tuple[Term, Rule]]
) -> None:
    """Raises UserError for parts that do not work with an image as the condition."""
    if "image" in condition and condition.paired and changes_views:  # otherwise D sees samples only
        raise UserError(
            f"augment={recipe.augment.name} would change images but not the condition image that G was given; set "
            "augment=none, or jitter"
        )
    paired = [name for name, (_, rule) in rules.items() if isinstance(rule, Penalty) and rule.paired]
    if not condition.paired and paired:
        raise UserError(
            f"task={recipe.task.name}: the term {paired[0]} compares each generated image with the real image of its "
            f"pair, and this task has no pairs; set terms.{paired[0]}=none, or leave --recipe out"
        )


def parameters_of(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
