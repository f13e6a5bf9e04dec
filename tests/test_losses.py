"""Every loss against values and gradients computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import mulligan.losses  # noqa: F401  (registers them)
from mulligan.core.registry import losses

REAL, FAKE = 0.7, -1.3


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


CROSS = (
    -log_sigmoid(REAL) - log_sigmoid(-FAKE),
    -(1 - sigmoid(REAL)),  # d/d real
    sigmoid(FAKE),  # d/d fake
)
# name: (D's loss, its slope in real, its slope in fake, G's loss, its slope in fake), at REAL and FAKE
BY_HAND = {
    "minimax": (*CROSS, log_sigmoid(-FAKE), -sigmoid(FAKE)),
    "nonsaturating": (*CROSS, -log_sigmoid(FAKE), -(1 - sigmoid(FAKE))),
    "least-squares": (0.5 * 0.3**2 + 0.5 * 1.3**2, -0.3, -1.3, 0.5 * 2.3**2, -2.3),
    "hinge": (0.3 + 0.0, -1.0, 0.0, 1.3, -1.0),
    "wasserstein": (-1.3 - 0.7, -1.0, 1.0, 1.3, -1.0),
    "relativistic": (
        -log_sigmoid(2.0),
        -(1 - sigmoid(2.0)),
        1 - sigmoid(2.0),
        -log_sigmoid(-2.0),
        -(1 - sigmoid(-2.0)),
    ),
    "margin": (-0.7 + 0.0, -1.0, 0.0, 1.3, -1.0),  # an energy of 1.3 is beyond the margin
    "relativistic-average": (  # of one sample, whose mean is itself: both halves are the same
        -2 * log_sigmoid(2.0),
        -2 * (1 - sigmoid(2.0)),
        2 * (1 - sigmoid(2.0)),
        -2 * log_sigmoid(-2.0),
        -2 * (1 - sigmoid(-2.0)),
    ),
}


def slopes(fn: Callable, *at: float) -> tuple[float, list[float]]:
    inputs = [torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in at]
    value = fn(*inputs)
    grads = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    return value.item(), [0.0 if g is None else g.item() for g in grads]


@pytest.mark.parametrize("name", list(losses))
def test_values_and_gradients(name: str) -> None:
    loss = losses[name]()
    d_value, d_real, d_fake, g_value, g_fake = BY_HAND[name]
    assert slopes(loss.d, REAL, FAKE) == (pytest.approx(d_value), pytest.approx([d_real, d_fake]))
    value, found = slopes(loss.g, REAL, FAKE) if loss.g_sees_real else slopes(loss.g, FAKE)
    assert value == pytest.approx(g_value) and found[-1] == pytest.approx(g_fake)


@pytest.mark.parametrize("name", list(losses))
@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_stay_finite_one_number_each(name: str, extreme: float) -> None:
    loss = losses[name]()
    real = torch.full((3, 2), extreme, requires_grad=True)
    fake = torch.full((3, 2), -extreme, requires_grad=True)
    for value in (loss.d(real, fake), loss.g(real, fake) if loss.g_sees_real else loss.g(fake)):
        assert value.shape == (3, 2) and value.isfinite().all()
        for grad in torch.autograd.grad(value.sum(), [real, fake], allow_unused=True):
            assert grad is None or grad.isfinite().all()


def test_hinge_is_zero_beyond_its_margin() -> None:
    loss = losses["hinge"]()
    assert loss.d(torch.tensor([1.5]), torch.tensor([-1.5])).item() == 0
    assert loss.d(torch.tensor([-1.0]), torch.tensor([2.0])).item() == 5


def test_least_squares_targets_are_options() -> None:
    loss = losses["least-squares"](fake=-1.0, real=1.0, wanted=0.0)
    assert loss.d(torch.tensor([1.0]), torch.tensor([-1.0])).item() == 0
    assert loss.g(torch.tensor([0.0])).item() == 0


def test_relativistic_pairs_in_order() -> None:
    loss = losses["relativistic"]()
    real, fake = torch.tensor([0.0, 5.0]), torch.tensor([0.0, -5.0])
    assert loss.d(real, fake)[0].item() == pytest.approx(math.log(2))
    assert loss.d(real, fake)[1].item() == pytest.approx(math.log1p(math.exp(-10)), rel=1e-3)


def test_relativistic_average_compares_with_the_mean_of_the_others() -> None:
    loss, real, fake = losses["relativistic-average"](), torch.tensor([1.0, 3.0]), torch.tensor([0.0, -2.0])
    expected = [-log_sigmoid(r + 1.0) - log_sigmoid(2.0 - f) for r, f in ((1.0, 0.0), (3.0, -2.0))]
    assert loss.d(real, fake).tolist() == pytest.approx(expected)
    assert loss.g(real, fake).tolist() == pytest.approx(loss.d(fake, real).tolist())


def test_margin_pushes_fakes_up_to_it() -> None:
    loss = losses["margin"](margin=2.0)
    assert loss.d(torch.tensor([-0.5]), torch.tensor([-1.5])).item() == 0.5 + 0.5
