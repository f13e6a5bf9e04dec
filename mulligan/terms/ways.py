"""Terms of translation without pairs: there and back again, what is at home already stays, and old fakes for D."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.batch import append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Passage, Penalty, Step, View, plainly


def two_ways(step: Step) -> bool:
    """Whether what G is shown says a side."""
    return getattr(step.G, "sides", False)


def sides_of(step: Step) -> list[int]:
    """For each sample 0 where it is to land in b, 1 where in a; 0 for all where there is one way."""
    if step.cond is None or not two_ways(step):
        return [0] * len(step.fake)
    return [round(side) for side in step.cond[:, -1].flatten(1)[:, 0].tolist()]


@terms.register()
def cycle() -> Penalty:
    """Mean |G back(G there(x)) - x| (Zhu 2017, arXiv 1703.10593, eq. 2).

    Raises UserError where G goes one way only.
    """

    def fn(step: Step) -> Tensor:
        if step.cond is None or not two_ways(step):
            raise UserError("the cycle term goes there and back, which takes --task style with task.ways=2")
        shown, side = step.cond[:, :-1], step.cond[:, -1:]
        back = step.G(step.z, torch.cat([step.fake, 1 - side], 1))
        return (back - shown).flatten(1).abs().mean(1)

    return Penalty("g", fn)


def at_home(step: Step) -> Tensor:
    """What G makes of images that are of the side it goes to already, (B, C, H, W)."""
    if step.cond is None or not step.cond.is_floating_point():
        raise UserError("terms about images that are to stay as they are need --task style")
    return step.G(step.z, torch.cat([step.real, step.cond[:, -1:]], 1) if two_ways(step) else step.real)


@terms.register()
def identity() -> Penalty:
    """Mean |G(y) - y| of images y of the side that G goes to (Zhu 2017, arXiv 1703.10593, sec. 5.2).

    Raises UserError where G is shown no images.
    """
    return Penalty("g", lambda step: (at_home(step) - step.real).flatten(1).abs().mean(1))


@terms.register()
def pool(
    *,
    size: int = 50,  # fakes kept of each side
) -> Passage:
    """D sees old fakes among new ones (Shrivastava 2017, arXiv 1612.07828, sec. 2.3; Zhu 2017, sec. 4).

    The weight is the chance of a fake to be kept and an old one of its side shown in its place, once there are `size`;
    until then all are kept, and shown. Through an old one no gradient reaches the new. Raises UserError for a D that
    sees more than the picture.
    """
    if size < 1:
        raise UserError(f"the pool holds at least 1 image, not {size}")

    def fn(step: Step, chance: float) -> tuple[View, View]:
        if step.cond is not None and not getattr(step.D, "alone", False):
            raise UserError("the pool term keeps fakes without what they were made from, which this D is to see too")
        fresh = step.fake.detach().float()
        dice = torch.rand(len(fresh), 2).tolist()  # on the CPU, where they do not wait for the device
        shown, old = fresh.clone(), torch.zeros(len(fresh), dtype=torch.bool)
        for row, (side, (whether, which)) in enumerate(zip(sides_of(step), dice, strict=True)):
            name = f"pool.{'ba'[side]}"
            kept = step.memory.get(name, fresh[:0])
            if len(kept) < size:
                step.memory[name] = torch.cat([kept, fresh[row : row + 1]])
            elif whether < chance:
                place = min(int(which * size), size - 1)
                shown[row], old[row] = kept[place], True
                kept[place] = fresh[row]
        if not old.any():
            return plainly, plainly
        aged = append_dims(old.to(fresh.device), fresh.ndim)
        return plainly, lambda x: torch.where(aged[: len(x)], shown[: len(x)].to(x.dtype), x)

    return Passage("d", fn)
