"""What happens between noise and D: latent optimisation, and which samples of a batch G learns from."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from toys import HINGE, NO_COND, ToyD, ToyG, toy_game

import mulligan.terms.balance
import mulligan.terms.latents  # noqa: F401  (registers them)
from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part, Schedule, Term
from mulligan.core.registry import terms
from mulligan.core.seeding import seed_step
from mulligan.core.step import LatentUpdate, Penalty, Step
from mulligan.engine import checkpoint
from mulligan.engine.loop import Game, State, Stop, play, play_step, restore, saved_state, tensors_of
from mulligan.engine.optim import ScheduledOptimizer


class Line(torch.nn.Module):
    """G(z) = A z, or D(x) = w . x + |x|^2 / 2, whose slopes are known."""

    def __init__(self, *weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList(weights)

    def forward(self, x: torch.Tensor, cond: Condition):
        if self.weights[0].ndim == 2:
            return x @ self.weights[0].T
        return Judgement([x @ self.weights[0] + 0.5 * x.square().sum(1)], [])


def test_a_search_goes_up_the_natural_gradient() -> None:
    """For x = A z the slope is A^T (w + A z), of which the first two of four numbers are followed."""
    torch.manual_seed(0)
    A, w, z = torch.randn(3, 4), torch.randn(3), torch.randn(5, 4)
    found = terms["latent-search"](damping=0.7, share=0.5).fn(Line(A), Line(w), z, NO_COND, 0.9)
    for i in range(5):
        slope = A.T @ (w + A @ z[i]) * torch.tensor([1.0, 1.0, 0.0, 0.0])
        torch.testing.assert_close(found[i], z[i] + 0.9 * slope / (0.7 + slope @ slope))
    with torch.autocast("cpu", torch.bfloat16):
        again = terms["latent-search"](damping=0.7, share=0.5).fn(Line(A), Line(w), z, NO_COND, 0.9)
    assert torch.equal(found, again), "not in half precision"
    for wrong in ({"share": 0.0}, {"share": 2.0}, {"damping": 0.0}):
        with pytest.raises(UserError, match="share"):
            terms["latent-search"](**wrong)


def by_hand(G: ToyG, D: ToyD, z: torch.Tensor, a: float, b: float) -> torch.Tensor:
    start = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(D(G(start, NO_COND), NO_COND).logits[0].sum(), start, create_graph=True)
    return z + torch.stack([a * g / (b + g @ g) for g in slope])


def test_both_players_learn_through_a_latent_update() -> None:
    """The gradients of both losses with z' = z + dz(G, D), the second-order part included, by plain SGD."""
    sgd, rate = Part("sgd", lr=1.0), 1.0
    rules = [
        ("latent-search", Term(0.9), terms["latent-search"](damping=0.1, share=1.0)),
        ("latent-distance", Term(3.0), terms["latent-distance"]()),
    ]
    game, hand = toy_game(share_fakes=False, rules=rules), toy_game()
    for player in (game.g, game.d):
        player.scheduled = ScheduledOptimizer(sgd, player.net.parameters())
    G, D = hand.g.net, hand.d.net
    play_step(game, State(), budget=100)
    seed_step(0, 0, 0, 0)

    z, real = torch.randn(8, 4), hand.train_batch(0, 8).real
    found = by_hand(G, D, z, 0.9, 0.1)
    cost = 3 * (found - z).square().sum(1)
    loss = (HINGE.d(D(real, NO_COND).logits[0], D(G(found, NO_COND), NO_COND).logits[0]) + cost).mean()
    first_order = torch.autograd.grad(D(G(found.detach(), NO_COND), NO_COND).logits[0].mean(), list(D.parameters()))
    slopes = torch.autograd.grad(loss, list(D.parameters()))
    with torch.no_grad():
        for p, slope in zip(D.parameters(), slopes, strict=True):
            p -= rate * slope
    for mine, theirs in zip(game.d.net.parameters(), D.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    through = torch.autograd.grad(
        D(G(by_hand(G, D, z, 0.9, 0.1), NO_COND), NO_COND).logits[0].mean(), list(D.parameters())
    )
    assert not torch.allclose(through[0], first_order[0], rtol=1e-2), "the gradient through z' counts"

    z = torch.randn(8, 4)
    found = by_hand(G, D, z, 0.9, 0.1)
    loss = (-D(G(found, NO_COND), NO_COND).logits[0] + 3 * (found - z).square().sum(1)).mean()
    slopes = torch.autograd.grad(loss, list(G.parameters()))
    for mine, theirs, slope in zip(game.g.net.parameters(), G.parameters(), slopes, strict=True):
        torch.testing.assert_close(mine, theirs - rate * slope)


@pytest.mark.parametrize(("share_fakes", "updates"), [(True, 2), (False, 3)])
def test_z_is_always_what_made_the_fake(share_fakes: bool, updates: int) -> None:
    calls, turns = [], []

    def move(G, D, z, cond, weight):
        calls.append(weight)
        return z + weight

    def record(step: Step) -> torch.Tensor:
        torch.testing.assert_close(step.z, step.z_drawn + 0.5)
        turns.append((step.side, step.fake.detach().clone(), step.G(step.z, NO_COND).detach(), step.z.clone()))
        return step.fake.flatten(1).sum(1) * 0

    rules = [("own", Term(0.5), LatentUpdate("both", move)), ("record", Term(1.0), Penalty("both", record))]
    game = toy_game(share_fakes=share_fakes, d_turns=2, rules=rules)
    play_step(game, State(), 100)
    assert calls == [0.5] * updates
    assert [side for side, *_ in turns] == ["d", "d", "g"]
    for _, fake, again, _ in turns:
        torch.testing.assert_close(fake, again)
    assert torch.equal(turns[1][3], turns[2][3]) == share_fakes


def test_a_latent_update_may_be_lazy_and_on_one_side() -> None:
    calls = []

    def move(G, D, z, cond, weight):
        calls.append(z)
        return z

    game = toy_game(share_fakes=False, rules=[("own", Term(1.0, every=2), LatentUpdate("d", move))])
    state = State()
    for _ in range(4):
        play_step(game, state, 100)
        state.step += 1
    assert len(calls) == 2


def observer(game: Game, folder: Path | None, leave_after: int | None):
    class Observer:
        steps = 0

        def budget(self, state):
            return 9 * game.batch * game.d_turns

        def report(self, state, report):
            self.steps += 1
            assert all(value.isfinite().all() for value in report.values())

        def evaluate(self, state):
            return None

        def save(self, state):
            if folder:
                checkpoint.write_step(folder, tensors_of(game), saved_state(game, state))

        def pause(self, state):
            left = leave_after is not None and self.steps >= leave_after
            return Stop("interrupted", "asked to stop") if left else None

    return Observer()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"share_fakes": False},
        {"accumulate": 2},
        {"d_turns": 2},
        {"share_fakes": False, "autocast": lambda: torch.autocast("cpu", torch.bfloat16)},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_games_with_latent_updates_and_shares_go_on_bit_for_bit(tmp_path: Path, settings: dict) -> None:
    rules = [
        ("latent-search", Term(0.9), terms["latent-search"](damping=0.1)),
        ("latent-distance", Term(0.1), terms["latent-distance"]()),
        ("top-k", Term(Schedule("linear", 1.0, 0.5)), terms["top-k"]()),
    ]
    settings = {"dropout": 0.3, "rules": rules, **settings}
    whole, broken, again = (toy_game(**settings) for _ in range(3))
    play(whole, State(), observer(whole, None, None))
    play(broken, State(), observer(broken, tmp_path, 4))
    found, _ = checkpoint.read_last(tmp_path)
    play(again, restore(again, found), observer(again, None, None))
    mine, theirs = tensors_of(again), tensors_of(whole)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(("share", "count"), [(1.0, 8), (0.5, 4), (0.3, 2), (0.01, 1)])
@pytest.mark.parametrize("share_fakes", [True, False])
def test_g_learns_from_the_best_alone(share: float, count: int, share_fakes: bool) -> None:
    """Plain SGD on the mean of D's logits of the best few; a penalty on fakes themselves counts all of them."""
    size = Penalty("g", lambda step: step.fake.flatten(1).square().sum(1))
    game = toy_game(
        share_fakes=share_fakes, rules=[("top-k", Term(share), terms["top-k"]()), ("size", Term(0.1), size)]
    )
    game.g.scheduled = ScheduledOptimizer(Part("sgd", lr=1.0), game.g.net.parameters())
    G = toy_game().g.net
    play_step(game, State(), 100)
    seed_step(0, 0, 0, 0)
    z = torch.randn(8, 4)
    z = z if share_fakes else torch.randn(8, 4)
    fake = G(z, NO_COND)
    logits = game.d.net(fake, NO_COND).logits[0]
    loss = -logits.sort(descending=True).values[:count].mean() + 0.1 * fake.flatten(1).square().sum(1).mean()
    slopes = torch.autograd.grad(loss, list(G.parameters()))
    for mine, was, slope in zip(game.g.net.parameters(), G.parameters(), slopes, strict=True):
        torch.testing.assert_close(mine, was - slope, rtol=1e-4, atol=1e-6)


def test_top_k_refuses_what_is_no_share() -> None:
    for share in (0.0, 1.5):
        with pytest.raises(UserError, match="share"):
            play_step(toy_game(rules=[("top-k", Term(share), terms["top-k"]())]), State(), 100)


def test_top_k_does_not_hold_its_step() -> None:
    """A hook with a reference to its step would keep every graph alive."""
    steps = []
    record = Penalty("g", lambda step: steps.append(weakref.ref(step)) or step.on_fake.logits[0])
    game = toy_game(rules=[("top-k", Term(0.5), terms["top-k"]()), ("record", Term(1.0), record)])
    play_step(game, State(), 100)
    gc.collect()
    assert steps and steps[0]() is None
