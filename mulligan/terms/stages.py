"""Terms about the stages in which some generators draw: `G.stages` of them, coarse to fine, on the channels."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Passage, Penalty, Step, View
from mulligan.nn.resample import shrink


def noise_levels(stages: int, base: float = 0.125, least: float = 0.01) -> list[float]:
    """t of each stage: 1 - base^(1 - k / (stages - 1)) + least, so 0.885 to 0.01 for four (Hyun 2025, 2509.24935)."""
    return [1 - base ** (1 - k / (stages - 1)) + least for k in range(stages - 1)] + [least]


@terms.register("stage-noise")
def stage_noise(
    *,
    base: float = 0.125,  # to what share of itself the earliest stage is faded
    least: float = 0.01,  # noise of the last stage, and added to that of all
) -> Passage:
    """D sees stage k as (1 - t_k) x_k + n_k: a coarse drawing in much noise, the picture in hardly any (GAT).

    n_k is N(0, t_k^2), and one stage's noise is that of the next, faded as its image is, and some more: n_k = f n_(k+1)
    + sqrt(t_k^2 - f^2 t_(k+1)^2) e_k, where f = (1 - t_k) / (1 - t_(k+1)) and e_k ~ N(0, I). Reals have noise of their
    own. The weight multiplies every t.
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
            kept = torch.tensor([1 - t for t in levels], device=noise.device).repeat_interleave(channels)
            return lambda x: x * kept[:, None, None] + noise[: len(x)]

        return view(), view()

    return Passage("both", fn)


def stages_of(step: Step, term: str) -> int:
    """In how many stages the step's G draws. Raises UserError, for a term, where in one."""
    stages = getattr(step.G, "stages", 1)
    if stages < 2:
        raise UserError(f"the {term} term needs a generator that draws in stages; set generator=gat")
    return stages


@terms.register("stage-consistency")
def stage_consistency() -> Penalty:
    """Mean squared difference of each earlier stage from the last one at its scale (CAT; Hyun 2026, arXiv 2605.26449).

    The paper's idea; that it is a mean square, and that the last stage is the target and does not give way, is ours.
    `G.scales` says by how much each stage is coarser than the image.
    """

    def fn(step: Step) -> Tensor:
        stages = step.fake.chunk(stages_of(step, "stage-consistency"), 1)
        target, apart = stages[-1].detach(), []
        for stage, scale in zip(stages[:-1], getattr(step.G, "scales", [1] * len(stages)), strict=False):
            apart.append(shrink(stage, scale) - shrink(target, scale))
        return torch.stack([each.float().flatten(1).square().mean(1) for each in apart]).mean(0)

    return Penalty("g", fn)
