"""Images made from held-out images, compared with their targets."""

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
    """Held-out images as conditions of `sampling.draw`; results are compared with the real images.

    `heldout(count, start)` returns them. `paired`: each has a real image to compare the result with. `net`: a feature
    net with maps, on the device of the batches, with which results are compared too.
    """

    def __init__(
        self, heldout: Callable[[int, int | None], Batch], paired: bool = True, net: FeatureNet | None = None
    ) -> None:
        self.heldout, self.paired, self.net = heldout, paired, net
        self.decibels: list[Tensor] = []
        self.distances: list[Tensor] = []

    def conditions(self, start: int, count: int) -> Condition:
        """The condition of samples `start` to `start + count`."""
        self.real, cond = self.heldout(count, start)
        return cond

    def compared(self, blocks: Blocks) -> Blocks:
        """The same blocks; each is compared as it passes through."""
        for made, cond in blocks:
            if self.paired:
                real = to_uint8(self.real[: len(made)])
                self.decibels.append(psnr(made, real.cpu()))
                self.distances += [perceptual_distance(self.net, made.to(real.device), real).cpu()] if self.net else []
            yield made, cond

    def similarity(self) -> dict[str, float]:
        """For pairs: means over all images compared so far, and the standard error of the perceptual distance."""
        found = {"psnr": torch.cat(self.decibels).mean().item()} if self.paired else {}
        if self.distances:
            distances = torch.cat(self.distances)
            error = distances.std() / len(distances) ** 0.5
            found |= {"perceptual": distances.mean().item(), "perceptual_se": error.item()}
        return found
