"""Every number carries its protocol: how features were computed, and of which samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mulligan.core.errors import UserError
from mulligan.metrics.feature_cache import FeatureCache
from mulligan.metrics.features.net import FeatureNet


@torch.inference_mode()
def extract(
    net: FeatureNet,
    batches: Iterable[Tensor],
    device: torch.device | str = "cpu",
    *,
    to_net: Callable[[Tensor], Tensor],
    cache: FeatureCache | None = None,
    progress: Callable[[int], None] = lambda samples: None,
) -> Tensor:
    """Features (N, D) float32, on the CPU, of batches of records (b, ...), `net.block` at a time.

    `to_net` is `Sample.to_net` of the data: records -> float (b, *shape). Records as files hold them, not a generator's
    floats, are what numbers that are reported are measured on. Features in the `cache` are not computed again.
    `progress` is called with the size of each block when it is done. Raises UserError if there is no sample.
    """
    net = net.to(device)
    features = []

    def compute(block: Tensor) -> Tensor:
        return net(to_net(block.to(device))).float().cpu()

    for batch in batches:
        for block in batch.split(net.block):
            features.append(cache.features(net, block, compute) if cache else compute(block))
            progress(len(block))
    if not features:
        raise UserError("there are no samples to compute features of")
    return torch.cat(features)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The conditions that have to be equal for two numbers to be comparable, and where the samples came from."""

    features: str  # the feature net's name
    features_stamp: str  # content hash of its weights
    resize: str  # how it changes the size of samples
    num_real: int
    num_fake: int
    split: str  # of the data: "train", "held-out"
    data: str  # its name
    data_fingerprint: str  # content hash
    seed: int  # of the fakes
    checkpoint: str = ""  # that made the fakes; "" for fakes that were read from files
    noun: str = "images"  # what samples are called, as `Sample.noun`
    records: str = ""  # how numbers are stored, for example "uint8"
    k: int = 5  # neighbours, of precision, recall, density and coverage
    pairs: str = ""  # the task, where fakes were made from held-out samples, which they are also compared with

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        checkpoint = f" of {self.checkpoint}" if self.checkpoint else ""
        records = f", {self.records}" if self.records else ""
        return (
            f"{self.num_fake:,} fakes (seed {self.seed}){checkpoint} against {self.num_real:,} {self.split} "
            f"{self.noun} of {self.data} ({self.data_fingerprint}); features {self.features} ({self.features_stamp}), "
            f"{self.resize}{records}; k={self.k}" + (f"; {self.pairs} of the same {self.noun}" if self.pairs else "")
        )
