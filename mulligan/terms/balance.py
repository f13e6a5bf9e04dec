"""Terms that hold what D says of reals and fakes in balance, and remember from step to step."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Passage, Penalty, Step, View, plainly
from mulligan.terms.slopes import word


@terms.register()
def lecam(*, decay: float = 0.99) -> Penalty:
    """D's words on reals and fakes near the running mean of those on the others (Tseng 2021, 2104.03310, eq. 3).

    Unlike the authors' code, which counts only what lies beyond the mean, as written in the paper.
    """

    def fn(step: Step) -> Tensor:
        words = {"real": word(step.on_real), "fake": word(step.on_fake)}
        means = {}
        for name, said in words.items():
            now = said.detach().mean()
            means[name] = step.memory.get(f"lecam.{name}", now).lerp(now, 1 - decay)
            step.memory[f"lecam.{name}"] = means[name]
        return (words["real"] - means["fake"]).square() + (words["fake"] - means["real"]).square()

    return Penalty("d", fn)


@terms.register()
def equilibrium(
    *,
    ratio: float = 0.5,  # gamma: of D's errors, on fakes over on reals; smaller: cleaner and more alike
    rate: float = 0.001,  # lambda: of k
) -> Penalty:
    """D owes k times its loss on fakes, k steered to keep their ratio (Berthelot 2017, arXiv 1703.10717, eq. 8).

    Beside the loss `wasserstein`, of a D whose logit is minus an error, which already counts fakes once: this adds
    (k - 1) times. k begins at 0.
    """

    def fn(step: Step) -> Tensor:
        real, fake = -word(step.on_real), -word(step.on_fake)
        k = step.memory.get("equilibrium.k", torch.zeros((), device=fake.device))
        step.memory["equilibrium.k"] = (k + rate * (ratio * real - fake).detach().mean()).clamp(0, 1)
        return (1 - k) * fake

    return Penalty("d", fn)


@terms.register("top-k")
def top_k() -> Passage:
    """G learns from the share of a batch that D finds most real, and nothing of the rest (Sinha 2020, 2002.06224).

    The weight is the share, k / B; what is kept weighs B / k times as much, so that the loss is a mean over it.
    Penalties that look at fakes past D are as they were.
    """

    def fn(step: Step, share: float) -> tuple[View, View]:
        if not 0 < share <= 1:
            raise UserError(f"the weight of top-k is the share of fakes kept, above 0 and at most 1, not {share}")

        seen = weakref.ref(step)  # or the graph would hold what holds the graph, out of the collector's sight

        def kept(gradient: Tensor) -> Tensor:
            """On the way back, when D has said of all fakes what it thinks."""
            said = word(seen().on_fake).detach()
            k = max(1, round(share * len(said)))
            gains = torch.zeros_like(said).index_fill(0, said.topk(k).indices, len(said) / k)
            return gradient * append_dims(gains[: len(gradient)], gradient.ndim).to(gradient.dtype)

        def view(x: Tensor) -> Tensor:
            if x.requires_grad:
                x = x.view_as(x)
                x.register_hook(kept)
            return x

        return plainly, view

    return Passage("g", fn)


@terms.register()
def centring() -> Penalty:
    """(D(x) + D(G(z)))^2: where only differences count, the logits' common part stays at 0 (Lin 2025, 2511.22475)."""
    return Penalty("d", lambda step: (word(step.on_real) + word(step.on_fake)).square())


@terms.register("gradient-normalisation")
def gradient_normalisation(
    *,
    decay: float = 0.9,  # of the running mean of the squared gradient
) -> Passage:
    """What D's gradient is to G has a steady size, so that weights of G's other terms mean the same all along.

    Between G and D stands an identity, whose backward divides by a running root mean square of what comes back (Lin
    2025, arXiv 2511.22475), and by how many numbers a batch of images has: of that size is the gradient of anything
    that is a mean over images. The weight multiplies it. Raises UserError in fp16, whose scaling of the loss it would
    undo. Each part of an accumulated batch counts as a batch: with `accumulate`, set the weight to 1 / accumulate.
    """

    def fn(step: Step, weight: float) -> tuple[View, View]:
        kind = step.fake.device.type
        if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16:
            raise UserError("the gradient-normalisation term does not go with precision=fp16; use bf16 or fp32")
        known: list[Tensor] = []  # the running mean, once it counts this step

        def backward(gradient: Tensor) -> Tensor:
            if not known:
                now = gradient.detach().float().square().mean()
                known.append(step.memory.get("gradient-normalisation.square", now).lerp(now, 1 - decay))
                step.memory["gradient-normalisation.square"] = known[0]
            size = (known[0] + 1e-30).sqrt() * gradient.numel() / weight
            return gradient / size.to(gradient.dtype)

        def view(x: Tensor) -> Tensor:
            if not x.requires_grad:
                return x
            y = x.view_as(x)
            y.register_hook(backward)
            return y

        return plainly, view

    return Passage("g", fn)


@terms.register()
def drift() -> Penalty:
    """D(x)^2 on reals, lest a critic whose zero nothing holds drifts away (Karras 2018, 1710.10196, app. A.1)."""
    return Penalty("d", lambda step: word(step.on_real).square())
