"""Measures samples of a generator against held-out ones, always with the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mulligan.core.condition import NOTHING, ConditionSpec
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.seeding import mix
from mulligan.data import Dataset
from mulligan.data.cache import cache_root
from mulligan.engine.sampling import Conditions, draw
from mulligan.measure.fakes import BLOCK, Blocks
from mulligan.measure.features import feature_net
from mulligan.measure.paired import PairedReference
from mulligan.metrics.distances import METRICS, measure
from mulligan.metrics.feature_cache import FeatureCache
from mulligan.metrics.protocol import Protocol, extract

TRACKED = "kid"  # the metric of the quality of samples; lower is better
MOST = 10_000  # the most samples, of the real ones and of the fakes
MOST_IN_TRAINING = 1_000  # during training, where an evaluation must be short against the steps between two of them


class Extracted(NamedTuple):
    """The features of fakes, and what else was collected with them."""

    features: Tensor  # (N, D)
    classes: Tensor | None  # (N,) that they are conditioned on
    records: Tensor | None  # (N, ...), if requested
    modes: dict[str, float]  # numbers about the modes of the data


class Judge:
    """A feature net, the features of the real samples, and the number of fakes to compare with them."""

    def __init__(
        self,
        data: Dataset,
        features: str | Part = "auto",
        device: torch.device | str = "cpu",
        *,
        split: str = "heldout",
        num_fake: int | None = None,
        most: int = MOST,  # real samples
        seed: int = 0,
        condition: ConditionSpec = NOTHING,
        task: str = "",
        progress: Callable[[int], None] = lambda samples: None,  # called with how many samples are done so far
    ) -> None:
        self.device, self.data, self.condition = device, data, condition
        part, self.net = feature_net(features, data, device)
        self.cache = FeatureCache(cache_root(None) / "features") if self.net.costly else None
        self.done, self.progress = 0, progress
        self.paired = "image" in condition and condition.paired
        similarity = ("psnr", "perceptual", "perceptual_se") if self.paired else ()
        modes = data.modes.names if data.modes else ()
        self.names = (*METRICS, "kid_se", *modes, *similarity)  # of its metrics
        # KID compares distributions; if the target of each sample is known, the distance to it is the better metric
        self.tracked = "perceptual" if self.paired and self.net.has_maps else TRACKED
        indices, split = real_indices(data, split, most)
        self.indices = indices
        self.real = self.features_of(data, indices)
        if not self.real.isfinite().all():
            raise UserError(
                f"{data.name}: some of its {data.sample.noun} hold numbers that are infinite or not a number"
            )
        self.classes = data.label_of(indices)  # of the real samples, (N,) int64; None without labels
        self.protocol = Protocol(
            features=part.name,
            features_stamp=self.net.stamp,
            resize=self.net.resizing,
            num_real=len(indices),
            num_fake=num_fake or len(indices),
            split=split,
            data=data.name,
            data_fingerprint=data.fingerprint,
            seed=seed,
            noun=data.sample.noun,
            records=data.sample.stored,
            pairs=task if self.paired else "",
        )

    def reference(self, heldout: Callable) -> PairedReference:
        """Held-out images as conditions. Results are compared with this judge's net if that metric is tracked."""
        return PairedReference(heldout, self.condition.paired, self.net if self.tracked == "perceptual" else None)

    def measure(
        self, G: nn.Module, conditions: Conditions, reference: PairedReference | None = None
    ) -> dict[str, float]:
        """Metrics of samples of G, always from the same noise; with numbers about modes, if the data have modes.

        If G makes images from held-out images, `reference` gives those, and compares the results for pairs.
        """
        protocol = self.protocol
        blocks = draw(
            G, self.data.sample, protocol.num_fake, seed=mix("judge", protocol.seed),
            conditions=reference.conditions if reference else conditions, device=self.device,
        )  # fmt: skip
        extracted = self.extract(reference.compared(blocks) if reference else blocks)
        similarity = reference.similarity() if reference else {}
        return measure(self.real, extracted.features, k=protocol.k) | extracted.modes | similarity

    def features_of(self, data: Dataset, indices: np.ndarray) -> Tensor:
        """(N, D), for samples of any data set of the same shape."""
        return self._features(map(data.records, np.array_split(indices, -(-len(indices) // BLOCK))))

    def _features(self, blocks: Iterable[Tensor]) -> Tensor:
        def count(samples: int) -> None:
            self.done += samples
            self.progress(self.done)

        return extract(self.net, blocks, self.device, to_net=self.data.sample.to_net, cache=self.cache, progress=count)

    def records(self, most: int) -> Tensor:
        """The records of the first real samples, at most `most`."""
        return self.data.records(self.indices[:most])

    def extract(self, blocks: Blocks, *, keep: bool = False) -> Extracted:
        """The features of fakes, their classes and modes; with `keep` also their records, which need memory."""
        classes: list[Tensor] = []
        saved: list[Tensor] = []
        keep = keep or self.data.modes is not None

        def records() -> Iterator[Tensor]:
            for made, cond in blocks:
                classes.extend([cond["class"]] if "class" in cond else [])
                saved.extend([made] if keep else [])
                yield made

        features = self._features(records())
        known = torch.cat(saved) if saved else None
        modes = {}
        if self.data.modes and known is not None:
            modes = self.data.modes.count(known, features if self.protocol.features == self.data.features else None)
        return Extracted(features, torch.cat(classes) if classes else None, known, modes)


def real_indices(data: Dataset, split: str, most: int) -> tuple[np.ndarray, str]:
    """Indices of a split, at most `most`, evenly spaced. If too few samples are held out, those of "train"."""
    splits = {"heldout": data.heldout, "train": data.train}
    if split not in splits:
        raise UserError(f"--split {split}: valid: {', '.join(splits)}")
    if split == "heldout" and len(data.heldout) < 8:
        split = "train"
    indices = splits[split]
    return indices[np.linspace(0, len(indices) - 1, min(len(indices), most)).astype(np.int64)], split
