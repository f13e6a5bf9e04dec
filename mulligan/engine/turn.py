"""One player's turn: the same for every GAN, task and kind of sample."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from mulligan.core.batch import Batch, refuse_other_shape, sample_means, staged
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Schedule, Term, value_at
from mulligan.core.step import (
    Augmentation,
    Constraint,
    LatentUpdate,
    Loss,
    Penalty,
    Rule,
    Side,
    Step,
    View,
    ViewRule,
    unchanged,
)
from mulligan.core.team import Team, alone
from mulligan.engine.optim import ScheduledOptimizer
from mulligan.engine.signals import gradient_norm, spread, wins

Net = TypeVar("Net", bound=nn.Module)
Report = dict[str, Tensor]  # every number a turn produced: one per sample (B,), or one for the turn (1,) or (0,)


@dataclass
class MicroBatch:
    """What a turn plays with in one forward and backward pass.

    D's turn leaves here what G's turn is to play again: `latent`, and `fake` with its graph if there is memory for it.
    """

    batch: Batch
    z: Tensor  # (B, *z_shape), as it was drawn
    latent: Tensor | None = None  # z, or what latent updates made of it
    fake: Tensor | None = None  # G's samples of `latent`


@dataclass
class Player(Generic[Net]):
    """A network, its optimizer, and its rules beside the adversarial loss."""

    side: Side
    net: Net
    scheduled: ScheduledOptimizer
    rules: Mapping[str, tuple[Term, Rule]] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)  # what its terms keep from step to step
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))

    def due(self, kind: type, index: int) -> dict[str, tuple[Term, Any]]:
        """The rules of a kind that apply in the player's turn of this index: lazy ones apply now and then."""
        return {
            name: (term, rule)
            for name, (term, rule) in self.rules.items()
            if isinstance(rule, kind) and index % term.every == 0
        }


@dataclass(frozen=True)
class Round:
    """What all turns of one step have in common."""

    loss: Loss
    augment: Augmentation
    strength: float  # of the augmentation
    seen: int  # samples seen so far: schedules read it, and the budget
    budget: int  # in samples
    autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    team: Team = field(default_factory=alone)

    def value(self, number: float | Schedule) -> float:
        return value_at(number, self.seen, self.budget)


def turn(
    player: Player[Any],
    opponent: Player[Any],
    batches: Sequence[MicroBatch],
    now: Round,
    *,
    index: int,
    share: bool = False,
) -> Report:
    """Play one turn: every micro-batch forward and backward, then one step of the player's optimizer.

    `index` counts this player's turns: lazy rules apply by it. `share`, in D's turn: G is to play the same batches
    next. The graph of its samples is then kept, and G does not run again, unless the batch was split to save memory.
    """
    side = player.side
    G, D = (player.net, opponent.net) if side == "g" else (opponent.net, player.net)
    keep_graph = share and len(batches) == 1
    G.requires_grad_(side == "g" or keep_graph)
    D.requires_grad_(side == "d")
    penalties = player.due(Penalty, index)

    player.scheduled.tune(now.seen, now.budget)
    player.scheduled.optimizer.zero_grad(set_to_none=True)
    reports: list[Report] = []
    for each in batches:
        with now.autocast():
            step = _step(player, G, D, each, now, index=index, share=share, keep_graph=keep_graph)
            report = {f"{side}/adversarial": step.adversarial()}
            for name, (term, rule) in penalties.items():
                report[f"{side}/{name}"] = now.value(term.weight) * term.every * rule.fn(step)
            # means first: some penalties are of a share of the samples
            total = torch.stack([value.mean() for value in report.values()]).sum() / len(batches)
        player.scaler.scale(total).backward()
        if side == "d":
            report |= _watched(step, each.batch.real.shape[1])
        reports.append({name: value.detach() for name, value in report.items()})

    gradients = [p.grad for p in player.net.parameters() if p.grad is not None]
    now.team.mean_(gradients)
    player.scaler.unscale_(player.scheduled.optimizer)
    norm = gradient_norm(gradients)
    player.scaler.step(player.scheduled.optimizer)
    player.scaler.update()
    for term, rule in player.due(Constraint, index).values():
        rule.fn(step, now.value(term.weight))
    report = {name: torch.cat([each[name] for each in reports]) for name in reports[0]}
    report |= {f"{side}/gradient": norm, f"{side}/lr": torch.tensor([player.scheduled.rate])}
    if player.scaler.is_enabled():  # it skips steps whose gradients overflow in fp16, and lowers the loss scale
        taken = norm.isfinite()
        report |= {f"{side}/gradient": norm[taken], f"{side}/skipped": (~taken).float()}
    return report


def _step(
    player: Player[Any],
    G: Generator,
    D: Discriminator,
    each: MicroBatch,
    now: Round,
    *,
    index: int,
    share: bool,
    keep_graph: bool,
) -> Step:
    """The step of one micro-batch: its samples of G, and the views that D has of them."""
    real, cond = each.batch
    z, fake = each.latent, each.fake
    if z is None:
        z = each.z
        for term, rule in player.due(LatentUpdate, index).values():
            z = rule.fn(G, D, z, cond, now.value(term.weight))
    if share:
        z = each.latent = z.detach()
    if fake is None:
        fake = G(z, cond)
    if keep_graph:
        each.fake = fake
    if share:
        fake = fake.detach()
    channels = real.shape[1]
    real = staged(real.detach(), G.stage_count)
    refuse_other_shape(fake, real, G.stage_count)
    views = now.augment.views(
        len(real), now.strength, real.device, paired=now.loss.g_sees_real,
        fresh=lambda: G(torch.randn_like(each.z), cond)[:, -channels:],
    )  # fmt: skip
    view_real, view_fake = (_of_each_stage(view, G.stage_count) for view in views)
    differentiated = {which for _, rule in player.due(Penalty, index).values() for which in rule.grad_of}
    step = Step(
        player.side, G, D, z, cond,
        real.requires_grad_() if "real" in differentiated else real,
        fake.requires_grad_() if "fake" in differentiated else fake,
        view_real, view_fake, memory=player.memory, z_drawn=each.z, loss=now.loss,
    )  # fmt: skip
    for term, rule in player.due(ViewRule, index).values():
        step.add_views(rule.fn(step, now.value(term.weight)))
    return step


def _watched(step: Step, channels: int) -> Report:
    """How D does, and how much samples differ, of the last stage's `channels`."""
    real, fake = mean_logit(step.on_real.logits), mean_logit(step.on_fake.logits)
    report = {"d/real": real, "d/fake": fake, "d/wins": wins(real, fake)}
    if len(step.real) > 1:  # a single sample differs from none
        report |= {"spread/real": spread(step.real[:, -channels:]), "spread/fake": spread(step.fake[:, -channels:])}
    return report


def _of_each_stage(view: View, stages: int) -> View:
    """The same view of every stage of a sample; stages lie one after the other on the channels."""
    if view is unchanged or stages == 1:
        return view
    return lambda x: torch.cat([view(stage) for stage in x.chunk(stages, 1)], 1)


def mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """D's logit of each sample, the mean of all heads: (B,)."""
    return torch.stack([sample_means(head) for head in logits]).mean(0)
