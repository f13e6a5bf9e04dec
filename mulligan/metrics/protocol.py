"""A number carries its protocol: how features were taken, and of what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.kept import Kept


@torch.inference_mode()
def extract(
    net: FeatureNet,
    batches: Iterable[Tensor],
    device: torch.device | str = "cpu",
    *,
    kept: Kept | None = None,
    seen: Callable[[int], None] = lambda images: None,
) -> Tensor:
    """Features (N, D) float32, on the CPU, of batches (b, C, H, W), uint8 or float in [-1, 1]; `net.block` at a time.

    Give uint8 where a number is to be reported: what people look at has 8 bits. Features that are `kept` from before
    are not taken again. `seen` is told how many images were done. Raises UserError without any image.
    """
    net = net.to(device)
    features = []

    def take(block: Tensor) -> Tensor:
        return net(to_float(block.to(device))).float().cpu()

    for batch in batches:
        for block in batch.split(net.block):
            features.append(kept.features(net, block, take) if kept else take(block))
            seen(len(block))
    if not features:
        raise UserError("there are no images to take features of")
    return torch.cat(features)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What has to be the same for two numbers to be compared, and where they came from."""

    features: str  # the feature net's name
    features_stamp: str  # content hash of its weights
    resize: str  # how it brings images to its size
    num_real: int
    num_fake: int
    split: str  # of the data: "train", "held-out"
    data: str  # its name
    data_fingerprint: str  # content hash
    seed: int  # of the fakes
    checkpoint: str = ""  # the fakes' maker; "" for fakes that came as images
    bits: int = 8  # of a pixel
    k: int = 5  # neighbours, of precision, recall, density and coverage
    pairs: str = ""  # the task, where fakes were made from the held-out images, which they are also compared with

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        maker = f" of {self.checkpoint}" if self.checkpoint else ""
        return (
            f"{self.num_fake:,} fakes (seed {self.seed}){maker} against {self.num_real:,} {self.split} images "
            f"of {self.data} ({self.data_fingerprint}); features {self.features} ({self.features_stamp}), "
            f"{self.resize}, {self.bits} bit; k={self.k}" + (f"; {self.pairs} of the same images" if self.pairs else "")
        )
