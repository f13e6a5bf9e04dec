"""The loop: one turn does what its equations say, and a game goes on bit for bit from any checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import HINGE, NO_COND, ToyD, ToyG, toy_game

import mulligan.terms.balance
import mulligan.terms.gradient_penalties  # noqa: F401  (registers them)
from mulligan.augment.parts import AdaptiveAugmentation
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part, Schedule, Term
from mulligan.core.registry import terms
from mulligan.core.step import LatentUpdate, Loss, Penalty, Step, View, ViewRule, unchanged
from mulligan.engine import checkpoint
from mulligan.engine.budget import best_of, converged, evaluation_points
from mulligan.engine.ema import MovingAverage
from mulligan.engine.loop import Game, State, Stop, play, play_step, restore, saved_state, tensors_of
from mulligan.engine.optim import ScheduledOptimizer


class Quiet:
    """An observer that only keeps what it is given."""

    def __init__(self, folder: Path | None = None, leave_after: int | None = None) -> None:
        self.folder, self.leave_after = folder, leave_after
        self.reports, self.evaluated = [], []

    def budget(self, state):
        return self.samples

    def report(self, state, report):
        self.reports.append(report)

    def evaluate(self, state):
        self.evaluated.append(state.samples)

    def save(self, state: State) -> None:
        if self.folder:
            checkpoint.write_step(self.folder, tensors_of(self.game), saved_state(self.game, state))

    def pause(self, state: State) -> Stop | None:
        left = self.leave_after is not None and len(self.reports) >= self.leave_after
        return Stop("interrupted", "asked to stop") if left else None


def run(game: Game, steps: int, observer: Quiet | None = None, state: State | None = None) -> Stop:
    observer = observer or Quiet()
    observer.game, observer.samples = game, steps * game.batch * game.d_turns
    return play(game, state or State(), observer)[1]


def weights(game: Game) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors_of(game).items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("shape", [(3,), (2, 7), (1, 4, 4), (1, 2, 4, 4)], ids=["rank 0", "rank 1", "rank 2", "rank 3"])
def test_every_rank_learns(shape: tuple[int, ...]) -> None:
    game, observer = toy_game(shape), Quiet()
    before = weights(game)
    assert run(game, 20, observer).status == "finished"
    after = weights(game)
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))
    assert set(observer.reports[0]) == {
        "d/adversarial", "d/real", "d/fake", "d/wins", "d/gradient", "d/lr", "g/adversarial", "g/gradient", "g/lr",
        "spread/real", "spread/fake", "augment",
    }  # fmt: skip
    once = ("d/gradient", "g/gradient", "d/lr", "g/lr", "augment")
    assert all(len(value) == (1 if name in once else 8) for name, value in observer.reports[0].items())
    late = observer.reports[-1]
    assert late["d/real"].mean() > late["d/fake"].mean(), "D tells real from fake in this direction"


@pytest.mark.parametrize("split", [{"batch": 1}, {"batch": 4, "accumulate": 4}], ids=str)
def test_nothing_is_said_of_how_a_single_sample_differs(split: dict[str, int]) -> None:
    observer = Quiet()
    run(toy_game((1, 4, 4), **split), 2, observer)
    assert "d/wins" in observer.reports[0] and not [name for name in observer.reports[0] if name.startswith("spread")]


def test_one_step_by_hand() -> None:
    """D's step, then G's against the new D, written out with plain autograd."""
    game, by_hand = toy_game(), toy_game()
    torch.manual_seed(0)
    from mulligan.core.seeding import seed_step

    play_step(game, State(), budget=100)
    G, D = by_hand.g.net, by_hand.d.net
    seed_step(0, 0, 0, 0)
    z, real = torch.randn(8, 4), by_hand.train_batch(0, 8).real
    fake = G(z, NO_COND)
    loss = HINGE.d(D(real, NO_COND).logits[0], D(fake.detach(), NO_COND).logits[0]).mean()
    by_hand.d.scheduled.optimizer.zero_grad()
    loss.backward()
    by_hand.d.scheduled.optimizer.step()
    by_hand.g.scheduled.optimizer.zero_grad()
    (-D(G(z, NO_COND), NO_COND).logits[0]).mean().backward()
    by_hand.g.scheduled.optimizer.step()
    for mine, theirs in zip(game.g.net.parameters(), G.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(game.d.net.parameters(), D.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("settings", [{}, {"d_turns": 2}, {"share_fakes": False}, {"share_fakes": False, "d_turns": 2}])
def test_accumulation_plays_the_same_samples_and_gives_the_same_gradients(settings: dict) -> None:
    gradients, positions = [], []
    for parts in (1, 2, 4):
        game, taken = toy_game(accumulate=parts, **settings), []
        deal = game.train_batch
        game.train_batch = lambda at, n, taken=taken, deal=deal: taken.extend(range(at, at + n)) or deal(at, n)
        play_step(game, State(), 100)
        gradients.append([p.grad.clone() for player in (game.d, game.g) for p in player.net.parameters()])
        play_step(game, State(step=1), 100)
        positions.append(taken)
    fresh = settings.get("d_turns", 1) + (not settings.get("share_fakes", True))
    assert positions == [list(range(2 * fresh * 8))] * 3
    for split in gradients[1:]:
        for mine, theirs in zip(split, gradients[0], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_split_batch_is_played_again_by_g_without_a_graph_in_between() -> None:
    played = []

    def watch(step: Step) -> torch.Tensor:
        played.append((step.side, step.z, step.fake.detach(), next(step.G.parameters()).requires_grad))
        return step.fake.flatten(1).sum(1) * 0

    moved = LatentUpdate("d", lambda G, D, z, cond, weight: z + weight)
    rules = [("own", Term(0.5), moved), ("watch", Term(1.0), Penalty("both", watch))]
    play_step(toy_game(accumulate=2, rules=rules), State(), 100)
    assert [(side, learns) for side, *_, learns in played] == [("d", False)] * 2 + [("g", True)] * 2
    for (_, z, fake, _), (_, again, other, _) in zip(played[:2], played[2:], strict=True):
        assert torch.equal(z, again) and torch.equal(fake, other)


def test_samples_of_another_shape_than_the_reals_are_refused() -> None:
    """Fakes with three channels for reals with one are not three stages, unless G says so."""
    game = toy_game()
    game.g.net, game.d.net = ToyG((3, 4, 4)), ToyD((3, 4, 4))
    with pytest.raises(UserError, match=r"samples of shape \(3, 4, 4\), .* shape \(1, 4, 4\)") as refused:
        play_step(game, State(), 100)
    assert "\n" not in str(refused.value)
    game = toy_game(stages=2)
    game.g.net.forward = lambda z, cond: torch.zeros(8, 1, 4, 4)
    with pytest.raises(UserError, match=r"samples of shape \(1, 4, 4\), .* 2 stages, have shape \(2, 4, 4\)"):
        play_step(game, State(), 100)


def test_d_is_asked_no_more_than_needed() -> None:
    plain, relativistic = toy_game(), toy_game(loss=Loss(d=lambda r, f: f - r, g=lambda r, f: r - f, g_sees_real=True))
    for game, calls in ((plain, 3), (relativistic, 4)):
        play_step(game, State(), 100)
        assert isinstance(game.d.net, ToyD) and game.d.net.calls == calls


def test_penalties_share_ds_forward_and_are_lazy() -> None:
    seen = []

    def fn(step):
        seen.append(step.real.requires_grad)
        return step.on_real.logits[0].square()

    lazy = Penalty("d", fn, grad_of=("real",))
    game, observer = toy_game(rules=[("own", Term(0.5, every=3), lazy)]), Quiet()
    run(game, 6, observer)
    assert seen == [True, True]
    with_penalty = [("d/own" in report) for report in observer.reports]
    assert with_penalty == [True, False, False, True, False, False]
    assert game.d.net.calls == 6 * 3


def test_stages_lie_on_the_channels_and_are_augmented_alike() -> None:
    views = []

    def fn(step):
        views.append((step.view_real(step.real), step.view_fake(step.fake)))
        return step.on_real.logits[0].square()

    augment = AdaptiveAugmentation(("flip",), 0.5)
    game = toy_game(stages=3, augment=augment, rules=[("own", Term(0.5), Penalty("d", fn, grad_of=("real", "fake")))])
    observer = Quiet()
    run(game, 3, observer)
    for real, fake in views:
        assert real.shape == fake.shape == (8, 3, 4, 4)
        assert torch.equal(real[:, :1], real[:, 1:2]) and torch.equal(real[:, :1], real[:, 2:])
        torch.testing.assert_close(2 * fake[:, :1], fake[:, 2:])  # flipped as the last one is
    assert game.ema.net(torch.randn(2, 4), NO_COND).shape == (2, 1, 4, 4)


def test_a_view_rule_is_between_g_and_d() -> None:
    """Half the gradient on its way back is half of G's step by plain SGD."""
    learnt = {}
    for name, weight in (("none", 1.0), ("half", 0.5)):

        def halved(step: Step, weight: float) -> tuple[View, View]:
            def view(x: torch.Tensor) -> torch.Tensor:
                if x.requires_grad:
                    x = x * 1.0
                    x.register_hook(lambda gradient: gradient * weight)
                return x

            return unchanged, view

        game = toy_game(rules=[("own", Term(weight), ViewRule("g", halved))])
        before = game.g.net.net.weight.detach().clone()
        game.g.scheduled = ScheduledOptimizer(Part("sgd", lr=1.0), game.g.net.parameters())
        play_step(game, State(), 100)
        learnt[name] = game.g.net.net.weight.detach() - before
    assert learnt["none"].abs().max() > 1e-4
    torch.testing.assert_close(learnt["half"], 0.5 * learnt["none"], rtol=1e-3, atol=1e-7)


def test_a_gradient_longer_than_usual_is_clipped() -> None:
    def played(clip: float, last: float, usual: float = 1.0) -> list[torch.Tensor]:
        """Weights after ten gradients of `usual` and one of `last`, and that one as the optimizer took it."""
        weights = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
        optimizer = ScheduledOptimizer(Part("adam", lr=0.1, clip=clip), weights).optimizer
        for slope in (usual,) * 10 + (last,):
            for weight in weights:
                weight.grad = torch.full_like(weight, slope)
            optimizer.step()
        return [*weights, *(weight.grad for weight in weights)]

    for ours, plain in zip(played(3.0, 2.9), played(0.0, 2.9), strict=True):
        assert torch.equal(ours, plain)  # as usual: nothing is clipped
    for ours, allowed in zip(played(3.0, 100.0), played(0.0, 3.0), strict=True):
        torch.testing.assert_close(ours, allowed, rtol=1e-4, atol=1e-6)
    assert played(0.0, 100.0)[-1].max() == played(3.0, 100.0, usual=0.0)[-1].max() == 100


def test_a_gradient_longer_than_a_norm_is_clipped() -> None:
    weights = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    scheduled = ScheduledOptimizer(Part("adam-by-norm", norm=Schedule("linear", 2.0, 1.0)), weights)
    for seen, slope, length in ((0, 10.0, 2.0), (100, 10.0, 1.0), (100, 0.1, 0.1 * 7**0.5)):
        for weight in weights:
            weight.grad = torch.full_like(weight, slope)
        scheduled.tune(seen, budget=100)
        scheduled.optimizer.step()
        found = torch.cat([weight.grad.flatten() for weight in weights])
        torch.testing.assert_close(found, torch.full((7,), length / 7**0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "part",
    [
        Part("adam", lr=-1.0), Part("adam", clip=-1.0), Part("adam-by-norm", norm=-1.0), Part("adamw", beta2=2.0),
        Part("sgd", momentum=-1.0),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_an_optimizer_cannot_have_is_refused_in_a_line(part: Part) -> None:
    with pytest.raises(UserError, match=rf"^optimizer {part.name}: Invalid .*[12]") as refused:
        ScheduledOptimizer(part, [torch.nn.Parameter(torch.zeros(1))])
    assert "\n" not in str(refused.value)


def test_schedules_reach_the_optimizer() -> None:
    game = toy_game()
    game.d.scheduled.options["lr"] = Schedule("linear", 1.0, 0.0)
    game.d.scheduled.tune(seen=25, budget=100)
    assert game.d.scheduled.optimizer.param_groups[0]["lr"] == 0.75


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"share_fakes": False, "d_turns": 2},
        {"accumulate": 2},
        {"augment": AdaptiveAugmentation(("shift", "noise"), 0.1, target=0.0)},
        {"rules": [("lecam", Term(0.3), terms["lecam"]())]},
        {"rules": [("r1", Term(1.0, every=2), terms["r1"](sigma=0.01, share=0.25))], "dropout": 0.0},
    ],
)
@pytest.mark.parametrize("broken_at", [1, 7, 12])
def test_a_broken_game_goes_on_bit_for_bit(tmp_path: Path, broken_at: int, settings: dict) -> None:
    settings = {"dropout": 0.3, **settings}
    whole = toy_game(**settings)
    run(whole, 13)
    assert run(toy_game(**settings), 13, Quiet(tmp_path, leave_after=broken_at)).status == "interrupted"
    found, _ = checkpoint.read_last(tmp_path)
    game = toy_game(**settings)
    for net in (game.g.net, game.d.net, game.ema.net):
        torch.nn.init.zeros_(next(net.parameters()))  # all of it must come from the checkpoint
    state = restore(game, found)
    assert state.step == broken_at
    run(game, 13, state=state)
    assert same(weights(game), weights(whole))


def test_another_attempt_draws_other_random_numbers() -> None:
    first, second, again = toy_game(), toy_game(), toy_game()
    play_step(first, State(), 100)
    play_step(second, State(attempt=1), 100)
    play_step(again, State(), 100)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(second))


def test_evaluations_come_once_and_end_with_the_budget() -> None:
    observer = Quiet()
    run(toy_game(), 40, observer)
    assert observer.evaluated == sorted(set(observer.evaluated)) and observer.evaluated[-1] == 40 * 8
    points = evaluation_points(100_000)
    assert points[-1] == 100_000 and len(points) == 21
    assert evaluation_points(3) == [1, 2, 3] or evaluation_points(3)[-1] == 3


def test_moving_average_has_the_stated_half_life() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = MovingAverage(net)
    torch.nn.init.ones_(net.weight)
    for _ in range(10):
        average.update(net, samples=8, half_life=80.0)
    assert average.net.weight.item() == pytest.approx(0.5)
    average.update(net, samples=8, half_life=0.0)
    assert average.net.weight.item() == 1.0


def history(values: list[float], se: float) -> list[dict]:
    return [{"samples": i, "kid": value, "kid_se": se} for i, value in enumerate(values)]


def test_convergence_needs_more_than_noise() -> None:
    improving = history([1 / (i + 1) for i in range(16)], se=1e-4)
    flat = history([1, 0.5, 0.3, 0.2, 0.11, 0.1, 0.1, 0.099, 0.101, 0.1, 0.0995, 0.1005], se=0.01)
    assert converged(improving, "kid") is None
    assert converged(flat[:8], "kid") is None, "too short to tell"
    why = converged(flat, "kid")
    assert why and "0.1" in why


def test_best_is_the_last_that_noise_does_not_rule_out() -> None:
    rows = history([9.0, 1.0, 1.01, 5.0, 0.995, 1.2], se=0.01)
    assert best_of(rows, "kid")["kid"] == 0.995
    assert best_of(rows[:4], "kid")["kid"] == 1.01
    assert best_of(history([float("nan")], se=0.1), "kid") is None
    noise = [{"coverage": 0.0} | row for row in history([2.0, 1.9], se=0.1)]
    digits = [{"coverage": 0.06} | row for row in history([7.0, 3.7], se=0.1)]
    assert best_of(noise, "kid") is noise[-1], "nothing better is known"
    assert best_of([*noise, *digits], "kid") is digits[-1], "near, by a distance, but it covers nothing"


def test_the_average_can_count_samples_by_the_learning_rate() -> None:
    """With a rate that halves, half as far a step; with none left, the average stays where it is."""
    steps = {}
    for clock in (1.0, 0.5, 0.0):
        game = toy_game(ema_clock=lambda seen, budget, clock=clock: clock)
        before = [p.clone() for p in game.ema.net.parameters()]
        play_step(game, State(samples=400), 1000)
        average, travelled = (
            torch.cat([(a - b).flatten() for a, b in zip(net.parameters(), before, strict=True)])
            for net in (game.ema.net, game.g.net)
        )
        steps[clock] = (average.norm() / travelled.norm()).item()
    assert steps[0.0] == 0.0
    assert steps[1.0] == pytest.approx(1 - 0.5 ** (8 / 20), rel=1e-4)
    assert steps[0.5] == pytest.approx(1 - 0.5 ** (4 / 20), rel=1e-4)
    scheduled = toy_game().g.scheduled
    scheduled.options["lr"] = Schedule("linear", 0.02, 0.0)
    assert scheduled.pace(0, 100) == 1.0 and scheduled.pace(75, 100) == pytest.approx(0.25)
