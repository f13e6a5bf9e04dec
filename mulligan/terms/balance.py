"""Terms that balance D's logits of reals and fakes, some of which keep running numbers from step to step."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step, View, ViewRule, unchanged
from mulligan.terms.gradient_penalties import total_logit


@terms.register()
def lecam(
    *,
    decay: float = 0.99,  # of the running means, per step
) -> Penalty:
    """Squared distances of D's logits of reals and fakes from the running mean of the others (Tseng 2021, 2104.03310).

    Equation 3 as written in the paper; the authors' code counts only what lies beyond the mean.
    """

    def fn(step: Step) -> Tensor:
        logits = {"real": total_logit(step.on_real), "fake": total_logit(step.on_fake)}
        means = {}
        for name, logit in logits.items():
            now = logit.detach().mean()
            means[name] = step.memory.get(f"lecam.{name}", now).lerp(now, 1 - decay)
            step.memory[f"lecam.{name}"] = means[name]
        return (logits["real"] - means["fake"]).square() + (logits["fake"] - means["real"]).square()

    return Penalty("d", fn)


@terms.register()
def equilibrium(
    *,
    ratio: float = 0.5,  # gamma: of D's errors, on fakes over on reals; smaller: better samples, less variety
    rate: float = 0.001,  # lambda: how fast k adapts, per step
) -> Penalty:
    """D's loss on fakes counts k times, with k steered to keep a ratio of errors (Berthelot 2017, 1703.10717, eq. 8).

    Use it with the loss `wasserstein` and a D whose logit is minus an error. That loss counts fakes once already, so
    this adds (k - 1) times. k starts at 0.
    """

    def fn(step: Step) -> Tensor:
        real, fake = -total_logit(step.on_real), -total_logit(step.on_fake)
        k = step.memory.get("equilibrium.k", torch.zeros((), device=fake.device))
        step.memory["equilibrium.k"] = (k + rate * (ratio * real - fake).detach().mean()).clamp(0, 1)
        return (1 - k) * fake

    return Penalty("d", fn)


@terms.register("top-k")
def top_k() -> ViewRule:
    """G learns only from the share of a batch that D finds most real (Sinha 2020, arXiv 2002.06224).

    The weight is the share, k / B. The chosen fakes count B / k times as much, so that the loss is a mean over them.
    Penalties on fakes that do not go through D are not changed.
    """

    def fn(step: Step, share: float) -> tuple[View, View]:
        if not 0 < share <= 1:
            raise UserError(f"the weight of top-k is the share of fakes that G learns from, in (0, 1], not {share}")

        step_ref = weakref.ref(step)  # a strong one would be a cycle through the graph that the collector cannot see

        def select(gradient: Tensor) -> Tensor:
            """Runs in the backward pass, when D has judged all fakes."""
            logit = total_logit(step_ref().on_fake).detach()
            k = max(1, round(share * len(logit)))
            gains = torch.zeros_like(logit).index_fill(0, logit.topk(k).indices, len(logit) / k)
            return gradient * append_dims(gains[: len(gradient)], gradient.ndim).to(gradient.dtype)

        def view(x: Tensor) -> Tensor:
            if x.requires_grad:
                x = x.view_as(x)
                x.register_hook(select)
            return x

        return unchanged, view

    return ViewRule("g", fn)


@terms.register()
def centring() -> Penalty:
    """(D(x) + D(G(z)))^2: keeps logits around 0 where the loss sees only their differences (Lin 2025, 2511.22475)."""
    return Penalty("d", lambda step: (total_logit(step.on_real) + total_logit(step.on_fake)).square())


@terms.register("gradient-normalisation")
def gradient_normalisation(
    *,
    decay: float = 0.9,  # of the running mean of the squared gradient, per step
) -> ViewRule:
    """D's gradient reaches G with a constant size, so that the weights of G's other terms keep their meaning.

    The backward pass between D and G divides by a running root mean square of the gradient (Lin 2025, arXiv 2511.22475)
    and by how many numbers a batch of samples has: the gradient of a mean over samples has that size. The weight
    multiplies it. Raises UserError in fp16, where it would undo the scaling of the loss. Each part of an accumulated
    batch counts as a batch: with `accumulate`, set the weight to 1 / accumulate.
    """

    def fn(step: Step, weight: float) -> tuple[View, View]:
        device = step.fake.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
            raise UserError("the gradient-normalisation term does not go with precision=fp16; use bf16 or fp32")
        updated: list[Tensor] = []  # the running mean, once it includes this step

        def backward(gradient: Tensor) -> Tensor:
            if not updated:
                now = gradient.detach().float().square().mean()
                updated.append(step.memory.get("gradient-normalisation.square", now).lerp(now, 1 - decay))
                step.memory["gradient-normalisation.square"] = updated[0]
            size = (updated[0] + 1e-30).sqrt() * gradient.numel() / weight
            return gradient / size.to(gradient.dtype)

        def view(x: Tensor) -> Tensor:
            if not x.requires_grad:
                return x
            y = x.view_as(x)
            y.register_hook(backward)
            return y

        return unchanged, view

    return ViewRule("g", fn)


@terms.register()
def drift() -> Penalty:
    """D(x)^2 on reals: keeps logits near 0, which no Wasserstein loss does (Karras 2018, 1710.10196, app. A.1)."""
    return Penalty("d", lambda step: total_logit(step.on_real).square())
