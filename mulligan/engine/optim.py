"""Optimizers as parts. Their options may change in training: each is a number or a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

from mulligan.core.errors import UserError
from mulligan.core.recipe import Number, Part, value_at
from mulligan.core.registry import optimizers

Parameters = Iterable[nn.Parameter]
if TYPE_CHECKING:
    Scheduled = float  # what a constructor is called with; `ScheduledOptimizer` changes it later
else:
    Scheduled = Number  # what a recipe may give: also a schedule


def _betas(beta1: float, beta2: float) -> tuple[float, float]:
    return (float(beta1), float(beta2))  # torch refuses integers here


def _clipped(optimizer: torch.optim.Optimizer, clip: float) -> torch.optim.Optimizer:
    """Adam that clips a gradient to `clip` times its recent norm, by the optimizer's own average of squares.

    Without momentum, a gradient that is longer than usual makes a step of Adam as much longer, up to
    1 / sqrt(1 - beta2) times: one odd batch can ruin a D at rest (compare Shazeer 2018, arXiv 1804.04235, sec. 6).
    Raises ValueError for a negative `clip`, in torch's words for its own options.
    """
    if clip < 0:
        raise ValueError(f"Invalid clip value: {clip}")
    return _before_steps(optimizer, _clip, clip=clip)


def _before_steps(
    optimizer: torch.optim.Optimizer, what: Callable[..., None], **options: float
) -> torch.optim.Optimizer:
    """The optimizer, calling `what` before every step, with `options` in its groups, where schedules set them."""
    for group in optimizer.param_groups:
        group.update(options)
    optimizer.register_step_pre_hook(what)
    return optimizer


def _clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        known = [p for p in group["params"] if p.grad is not None and p in optimizer.state]
        if not known or not group["clip"]:
            continue
        states = [optimizer.state[p] for p in known]
        squares = get_total_norm(
            [state["exp_avg_sq"] for state in states], 1.0
        )  # norm 1 of what is not negative: the sum
        usual = (squares / (1 - group["betas"][1] ** states[0]["step"])).sqrt()
        most = torch.where(usual > 0, group["clip"] * usual, math.inf)  # after gradients of 0 only, nothing is clipped
        # a tensor does as well as the number that torch's annotation names, and is not waited for
        clip_grads_with_norm_(known, most, get_total_norm([p.grad for p in known]))  # type: ignore[arg-type]


@optimizers.register()
def adam(
    parameters: Parameters,
    *,
    lr: Scheduled = 2e-4,  # step size
    beta1: Scheduled = 0.0,  # momentum; GANs with a zero-centred penalty do best without
    beta2: Scheduled = 0.99,  # decay of the squared gradient's average
    eps: float = 1e-8,  # added to the root of that average, against division by 0
    clip: Scheduled = 0.0,  # the norm of all gradients together is clipped to so many times its recent one; 0: never
) -> torch.optim.Optimizer:
    """Adam (Kingma, Ba 2014, arXiv 1412.6980), fused: one kernel for all parameters, on CPU too."""
    return _clipped(torch.optim.Adam(parameters, lr=lr, betas=_betas(beta1, beta2), eps=eps, fused=True), clip)


@optimizers.register("adam-by-norm")
def adam_by_norm(
    parameters: Parameters,
    *,
    lr: Scheduled = 2e-4,  # step size
    beta1: Scheduled = 0.0,  # momentum
    beta2: Scheduled = 0.99,  # decay of the squared gradient's average
    eps: float = 1e-8,  # added to the root of that average, against division by 0
    norm: Scheduled = 1.0,  # the norm of all gradients together is clipped to this
) -> torch.optim.Optimizer:
    """Adam of gradients whose norm is clipped (Pascanu 2013, arXiv 1211.5063, algorithm 1).

    Raises ValueError for a norm that is not above 0, in torch's words for its own options.
    """
    if norm <= 0:
        raise ValueError(f"Invalid norm value: {norm}")
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=_betas(beta1, beta2), eps=eps, fused=True)
    return _before_steps(optimizer, _clip_norm, norm=norm)


def _clip_norm(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        clip_grad_norm_(group["params"], group["norm"])


@optimizers.register()
def adamw(
    parameters: Parameters,
    *,
    lr: Scheduled = 1e-4,  # step size
    beta1: Scheduled = 0.0,  # momentum
    beta2: Scheduled = 0.9,  # decay of the squared gradient's average
    eps: float = 1e-8,  # added to the root of that average, against division by 0
    weight_decay: Scheduled = 0.01,  # decoupled from the gradient, in units of lr
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov, Hutter 2017, arXiv 1711.05101)."""
    return torch.optim.AdamW(
        parameters, lr=lr, betas=_betas(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True
    )


@optimizers.register()
def rmsprop(
    parameters: Parameters,
    *,
    lr: Scheduled = 5e-5,  # step size
    alpha: Scheduled = 0.99,  # decay of the squared gradient's average
    eps: float = 1e-8,  # added to the root of that average, against division by 0
) -> torch.optim.Optimizer:
    """RMSprop (Hinton 2012), the optimizer of the original WGAN."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, eps=eps)


@optimizers.register()
def sgd(
    parameters: Parameters,
    *,
    lr: Scheduled = 0.01,  # step size
    momentum: Scheduled = 0.0,  # of the gradient, per step
) -> torch.optim.Optimizer:
    """Stochastic gradient descent."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum)


class ScheduledOptimizer:
    """An optimizer whose options follow their schedules. Raises UserError for a value that it does not take."""

    def __init__(self, part: Part, parameters: Parameters) -> None:
        self.options = dict(optimizers.bind(part.name, part.options))
        try:
            self.optimizer = optimizers[part.name](parameters, **self._values(0, 1))
        except ValueError as error:
            raise UserError(f"optimizer {part.name}: {error}") from None

    def _values(self, seen: int, budget: int) -> dict[str, Any]:
        return {name: value_at(option, seen, budget) for name, option in self.options.items()}

    @property
    def rate(self) -> float:
        """The learning rate as it was last set."""
        return self.optimizer.param_groups[0]["lr"]

    def pace(self, seen: int, budget: int) -> float:
        """The learning rate after `seen` of `budget` samples, divided by the one it began with."""
        rate = self.options["lr"]
        return value_at(rate, seen, budget) / (value_at(rate, 0, budget) or 1.0)

    def tune(self, seen: int, budget: int) -> None:
        """Set every option to its value after `seen` of `budget` samples."""
        values = self._values(seen, budget)
        if "beta1" in values:
            values["betas"] = _betas(values.pop("beta1"), values.pop("beta2"))
        for group in self.optimizer.param_groups:
            group.update(values)
