"""Terms for generators that draw in stages: `G.stage_count` images of a sample, coarse to fine, on the channels."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step, View, ViewRule
from mulligan.nn.resample import shrink


def noise_levels(stages: int, base: float = 0.125, least: float = 0.01) -> list[float]:
    """t of each stage: 1 - base^(1 - k / (stages - 1)) + least, so 0.885 to 0.01 for four (Hyun 2025, 2509.24935)."""
    return [1 - base ** (1 - k / (stages - 1)) + least for k in range(stages - 1)] + [least]


@terms.register("stage-noise")
def stage_noise(
    *,
    base: float = 0.125,  # factor by which the earliest stage is faded, in (0, 1)
    least: float = 0.01,  # deviation of the last stage's noise, and added to that of all others
) -> ViewRule:
    """D sees stage k as (1 - t_k) x_k + n_k: much noise on a coarse stage, hardly any on the last one (GAT).

    n_k is N(0, t_k^2). The noise of a stage is that of the next one, faded as its image is, and some more: n_k = f
    n_(k+1) + sqrt(t_k^2 - f^2 t_(k+1)^2) e_k, where f = (1 - t_k) / (1 - t_(k+1)) and e_k ~ N(0, I). Reals get other
    noise than fakes. The weight multiplies every t.
    """

    def fn(step: Step, weight: float) -> tuple[View, View]:
        levels = [min(1.0, weight * t) for t in noise_levels(stages_of(step, "stage-noise"), base, least)]

        def view() -> View:
            channels = step.fake.shape[1] // len(levels)
            noises: list[Tensor] = []
            for level, finer in zip(reversed(levels), [0.0, *reversed(levels[1:])], strict=True):
                e = torch.randn_like(step.fake[:, :channels], dtype=torch.float32).detach()
                fade = (1 - level) / (1 - finer) if finer < 1 else 1.0
                more = max(0.0, level**2 - (fade * finer) ** 2) ** 0.5 * e
                noises.insert(0, fade * noises[0] + more if noises else more)
            noise = torch.cat(noises, 1)
            signal = torch.tensor([1 - t for t in levels], device=noise.device).repeat_interleave(channels)
            signal = append_dims(signal, noise.ndim - 1)  # (K C, 1, ...)
            return lambda x: x * signal + noise[: len(x)]

        return view(), view()

    return ViewRule("both", fn)


def stages_of(step: Step, term: str) -> int:
    """The number of stages of the step's G. Raises UserError, for a term, where there is one only."""
    if step.G.stage_count < 2:
        raise UserError(f"the {term} term needs a generator that draws in stages; set generator=gat")
    return step.G.stage_count


@terms.register("stage-consistency")
def stage_consistency() -> Penalty:
    """Mean squared difference of each earlier stage from the last one at its scale (CAT; Hyun 2026, arXiv 2605.26449).

    The idea is the paper's; the mean square, and that the last stage is a fixed target, are ours. `G.scales` says by
    how much each stage is coarser than the sample.
    """

    def fn(step: Step) -> Tensor:
        stages = step.fake.chunk(stages_of(step, "stage-consistency"), 1)
        target, differences = stages[-1].detach(), []
        for stage, scale in zip(stages[:-1], step.G.scales or [1] * len(stages), strict=False):
            differences.append(_shrunk(stage, scale) - _shrunk(target, scale))
        return torch.stack([each.float().flatten(1).square().mean(1) for each in differences]).mean(0)

    return Penalty("g", fn)


def _shrunk(x: Tensor, scale: int) -> Tensor:
    return x if scale == 1 else shrink(x, scale)  # a sample without space axes has no scale but 1
