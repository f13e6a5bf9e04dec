"""One player's turn: the same for every GAN, task and rank."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mulligan.core.batch import Batch, staged_like
from mulligan.core.recipe import Term, value_at
from mulligan.core.step import (
    Augmentation,
    Constraint,
    Loss,
    Passage,
    Penalty,
    Rule,
    Search,
    Side,
    Step,
    View,
    plainly,
)
from mulligan.engine.optim import Tuned
from mulligan.engine.signals import gradient_norm, spread, wins

Report = dict[str, Tensor]  # every number a turn produced: one per sample (B,), or one for the turn (1,)


@dataclass
class Deal:
    """What a turn is played with. `fake`, kept with its graph when G's own turn will use it, is G's answer to `found`.

    That is `z`, or what a search made of it.
    """

    batch: Batch
    z: Tensor
    fake: Tensor | None = None
    found: Tensor | None = None


@dataclass
class Player:
    """A network, its optimizer, and what is asked of it beside the adversarial loss."""

    side: Side
    net: nn.Module
    tuned: Tuned
    rules: Mapping[str, tuple[Term, Rule]] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)  # what its terms keep from step to step
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))

    def due(self, kind: type, index: int) -> dict[str, tuple[Term, Any]]:
        """The rules of a kind that hold in the player's turn of this index: lazy ones now and then."""
        return {
            name: (term, rule)
            for name, (term, rule) in self.rules.items()
            if isinstance(rule, kind) and index % term.every == 0
        }


def turn(
    player: Player,
    opponent: Player,
    loss: Loss,
    deals: Sequence[Deal],
    *,
    augment: Augmentation,
    strength: float,  # of the augmentation
    index: int,  # how many turns this player has had: lazy terms count by it
    seen: int,  # images shown so far, and the budget: schedules read both
    budget: int,
    keep_fakes: bool = False,  # leave G's graph in the deals, for its own turn
    autocast: contextlib.AbstractContextManager | None = None,
) -> Report:
    """Play one turn: every deal forward and backward, then one step of the player's optimizer."""
    side = player.side
    G, D = (player.net, opponent.net) if side == "g" else (opponent.net, player.net)
    G.requires_grad_(side == "g" or keep_fakes)
    D.requires_grad_(side == "d")
    penalties = player.due(Penalty, index)
    watched = {which for _, rule in penalties.values() for which in rule.grad_of}

    player.tuned.tune(seen, budget)
    player.tuned.optimizer.zero_grad(set_to_none=True)
    reports: list[Report] = []
    for deal in deals:
        with autocast or contextlib.nullcontext():
            z, fake = deal.found, deal.fake
            if z is None or fake is None:
                z = deal.z
                for term, rule in player.due(Search, index).values():
                    z = rule.fn(G, D, z, deal.batch.cond, value_at(term.weight, seen, budget))
                z = z.detach() if keep_fakes else z
                fake = G(z, deal.batch.cond)
            if keep_fakes:
                deal.found, deal.fake = z, fake
                fake = fake.detach()
            channels = deal.batch.real.shape[1]
            real = staged_like(deal.batch.real.detach(), fake)
            views = augment.views(
                len(real), strength, real.device, paired=loss.g_sees_real,
                fresh=lambda deal=deal, c=channels: G(torch.randn_like(deal.z), deal.batch.cond)[:, -c:],
            )  # fmt: skip
            step = Step(
                side, G, D, z, deal.batch.cond,
                real.requires_grad_() if "real" in watched else real,
                fake.requires_grad_() if "fake" in watched else fake,
                *(_of_each_stage(view, channels) for view in views),
                memory=player.memory, drawn=deal.z, loss=loss,
            )  # fmt: skip
            for term, rule in player.due(Passage, index).values():
                step.pass_through(rule.fn(step, value_at(term.weight, seen, budget)))
            report = {f"{side}/adversarial": step.adversarial()}
            for name, (term, rule) in penalties.items():
                report[f"{side}/{name}"] = value_at(term.weight, seen, budget) * term.every * rule.fn(step)
            total = torch.stack([each.mean() for each in report.values()]).sum() / len(deals)  # some of a share alone
        player.scaler.scale(total).backward()
        if side == "d":
            report["d/real"] = mean_logit(step.on_real.logits)
            report["d/fake"] = mean_logit(step.on_fake.logits)
            report["d/wins"] = wins(report["d/real"], report["d/fake"])
            if len(real) > 1:  # a single one differs from none
                report |= {"spread/real": spread(real[:, -channels:]), "spread/fake": spread(fake[:, -channels:])}
        reports.append({name: value.detach() for name, value in report.items()})
    player.scaler.unscale_(player.tuned.optimizer)
    gradient = gradient_norm(player.net.parameters())
    player.scaler.step(player.tuned.optimizer)
    player.scaler.update()
    for term, rule in player.due(Constraint, index).values():
        rule.fn(step, value_at(term.weight, seen, budget))
    return {name: torch.cat([report[name] for report in reports]) for name in reports[0]} | {
        f"{side}/gradient": gradient,
        f"{side}/lr": torch.tensor([player.tuned.rate]),
    }


def _of_each_stage(view: View, channels: int) -> View:
    """The same view of all the stages of an image, which lie one after the other on the channels."""
    if view is plainly:
        return view
    return lambda x: view(x) if x.shape[1] == channels else torch.cat([view(s) for s in x.split(channels, 1)], 1)


def mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """What D thinks of each sample, all heads together: (B,)."""
    return torch.stack([head.flatten(1).mean(1) if head.ndim > 1 else head for head in logits]).mean(0)
