"""Images made from held-out images, beside what they were to be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mulligan.core.batch import Batch, to_uint8
from mulligan.core.condition import Condition
from mulligan.measure.fakes import Blocks
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.pictures import perceptual_distance, psnr


class PairedReference:
    """Held-out images as conditions of `sampling.draw`; what is made of them is compared with the real ones.

    `heldout(count, start)` gives them. `paired`: a real image goes with each, so there is something to compare with.
    `net`: a feature net with maps, by which pairs are compared as well, on the device of the batches.
    """

    def __init__(
        self, heldout: Callable[[int, int | None], Batch], paired: bool = True, net: FeatureNet | None = None
    ) -> None:
        self.heldout, self.paired, self.net = heldout, paired, net
        self.decibels: list[Tensor] = []
        self.distances: list[Tensor] = []

    def conditions(self, start: int, count: int) -> Condition:
        """What the generator is told of samples `start` to `start + count`."""
        self.real, cond = self.heldout(count, start)
        return cond

    def compared(self, blocks: Blocks) -> Blocks:
        """The blocks as they come, each compared on its way."""
        for made, cond in blocks:
            if self.paired:
                real = to_uint8(self.real[: len(made)])
                self.decibels.append(psnr(made, real.cpu()))
                self.distances += [perceptual_distance(self.net, made.to(real.device), real).cpu()] if self.net else []
            yield made, cond

    def similarity(self) -> dict[str, float]:
        """Of pairs: means over all images that went by, of the perceptual distance with its standard error."""
        found = {"psnr": torch.cat(self.decibels).mean().item()} if self.paired else {}
        if self.distances:
            distances = torch.cat(self.distances)
            error = distances.std() / len(distances) ** 0.5
            found |= {"perceptual": distances.mean().item(), "perceptual_se": error.item()}
        return found
