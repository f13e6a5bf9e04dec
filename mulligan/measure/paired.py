"""What G made of held-out pictures beside what it was to make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mulligan.core.batch import Batch, to_uint8
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.pictures import maps_apart, psnr


class Compared:
    """Held-out images behind `draw`: it asks what G is shown; what G made is compared with what was wanted of pairs."""

    def __init__(self, unseen: Callable[..., Batch], paired: bool = True, net: FeatureNet | None = None) -> None:
        self.unseen, self.paired = unseen, paired
        self.net = net  # with maps, by which pairs are compared as well, on the device of what is dealt
        self.decibels: list[Tensor] = []
        self.apart: list[Tensor] = []

    def shown(self, start: int, count: int) -> Tensor:
        """What G is shown for samples `start` to `start + count`."""
        self.wanted, cond = self.unseen(count, start)
        assert cond is not None
        return cond

    def watch(self, blocks: Iterator[tuple[Tensor, Tensor | None]]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The blocks as they come, each compared on its way."""
        for made, ids in blocks:
            if self.paired:
                wanted = to_uint8(self.wanted[: len(made)])
                self.decibels.append(psnr(made, wanted.cpu()))
                self.apart += [maps_apart(self.net, made.to(wanted.device), wanted).cpu()] if self.net else []
            yield made, ids

    def near(self) -> dict[str, float]:
        """Of pairs, how near they came: the mean over all images that went by; of what a net sees also its error."""
        found = {"psnr": torch.cat(self.decibels).mean().item()} if self.paired else {}
        if self.apart:
            apart = torch.cat(self.apart)
            found |= {"perceptual": apart.mean().item(), "perceptual_se": (apart.std() / len(apart) ** 0.5).item()}
        return found
