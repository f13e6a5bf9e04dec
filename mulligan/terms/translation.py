"""Terms of translation without pairs: cycle consistency, identity, and a pool of old fakes for D."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step, View, ViewRule, unchanged


def sides_of(step: Step) -> list[int]:
    """The side that each fake belongs to: 0 for b, 1 for a. All 0 where G goes from a to b only."""
    return step.cond["side"].tolist() if step.G.two_way else [0] * len(step.fake)


@terms.register()
def cycle() -> Penalty:
    """Mean |G(G(x)) - x|, there and back again (Zhu 2017, arXiv 1703.10593, eq. 2).

    Raises UserError where G goes in one direction only.
    """

    def fn(step: Step) -> Tensor:
        if not step.G.two_way:
            raise UserError(
                "the cycle term needs a generator of both directions; set task.directions=2 with --task style"
            )
        back = step.G(step.z, step.cond.changed(image=step.fake, side=1 - step.cond["side"]))
        return (back - step.cond["image"]).flatten(1).abs().mean(1)

    return Penalty("g", fn)


def translated_reals(step: Step) -> Tensor:
    """What G makes of real images, which are of the side that it translates to already: (B, C, H, W)."""
    if "image" not in step.cond:
        raise UserError("the identity terms need a G that translates images; give --task style")
    return step.G(step.z, step.cond.changed(image=step.real))


@terms.register()
def identity() -> Penalty:
    """Mean |G(y) - y| of images y of the side that G translates to (Zhu 2017, arXiv 1703.10593, sec. 5.2).

    Raises UserError where G is given no images.
    """
    return Penalty("g", lambda step: (translated_reals(step) - step.real).flatten(1).abs().mean(1))


@terms.register()
def pool(
    *,
    size: int = 50,  # stored fakes of each side
) -> ViewRule:
    """D sees old fakes among new ones (Shrivastava 2017, arXiv 1612.07828, sec. 2.3; Zhu 2017, sec. 4).

    Once the pool holds `size` fakes of a side, the weight is the chance that D sees one of these in place of a new one,
    which then replaces it in the pool. Until then every new fake is added, and seen. No gradient flows through an old
    fake. Raises UserError for a D that sees the condition, too.
    """
    if size < 1:
        raise UserError(f"the pool holds at least 1 image, not {size}")

    def fn(step: Step, chance: float) -> tuple[View, View]:
        if step.cond and not step.D.unconditional:
            raise UserError(
                "the pool term stores fakes without their condition, which this D sees, too; set terms.pool=none"
            )
        new = step.fake.detach().float()
        draws = torch.rand(len(new), 2).tolist()  # on the CPU: no wait for the device
        viewed, old = new.clone(), torch.zeros(len(new), dtype=torch.bool)
        for row, (side, (chosen, which)) in enumerate(zip(sides_of(step), draws, strict=True)):
            name = f"pool.{'ba'[side]}"
            stored = step.memory.get(name, new[:0])
            if len(stored) < size:
                step.memory[name] = torch.cat([stored, new[row : row + 1]])
            elif chosen < chance:
                index = min(int(which * size), size - 1)
                viewed[row], old[row] = stored[index], True
                stored[index] = new[row]
        if not old.any():
            return unchanged, unchanged
        is_old = append_dims(old.to(new.device), new.ndim)
        return unchanged, lambda x: torch.where(is_old[: len(x)], viewed[: len(x)].to(x.dtype), x)

    return ViewRule("d", fn)
