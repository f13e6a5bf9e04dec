"""Samples of a generator measured against held-out images, always by the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mulligan.core.batch import Batch, Shown
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.core.seeding import mix
from mulligan.data import Data
from mulligan.data.cache import cache_root
from mulligan.engine.detectors import TRACKED
from mulligan.engine.sampling import draw
from mulligan.measure.fakes import BLOCK, Blocks
from mulligan.measure.features import feature_net
from mulligan.measure.paired import Compared
from mulligan.metrics.distances import METRICS, measure
from mulligan.metrics.kept import Kept
from mulligan.metrics.protocol import Protocol, extract

MOST = 10_000  # images on each side at most
MOST_AT_A_LOOK = 1_000  # while training, where a look must not take longer than what it looks at


class Seen(NamedTuple):
    """Fakes, as they were looked at."""

    features: Tensor  # (N, D)
    classes: Tensor | None  # (N,) that they were told
    images: Tensor | None  # uint8 (N, C, *space), where they were kept
    modes: dict[str, float]  # what the data count of them


class Judge:
    """A feature net, the features of the real images, and a count of samples to compare with them."""

    def __init__(
        self,
        data: Data,
        features: str | Part = "auto",
        device: torch.device | str = "cpu",
        *,
        split: str = "heldout",
        num_fake: int | None = None,
        most: int = MOST,  # real images
        seed: int = 0,
        shown: Shown | None = None,  # what G makes its images from, if it does: held-out ones
        task: str = "",
        seen: Callable[[int], None] = lambda images: None,  # is told how many images were looked at so far
    ) -> None:
        self.device = device
        part, self.net = feature_net(features, data, device)
        self.kept = Kept(cache_root(None) / "features") if getattr(self.net, "costly", False) else None
        self.looked_at, self.seen = 0, seen
        self.data = data
        self.shown = shown
        paired = shown is not None and not shown.unpaired
        near = ("psnr", "perceptual", "perceptual_se") if paired else ()
        self.names = (*METRICS, "kid_se", *data.measures, *near)  # of what it measures
        # KID asks whether samples are of the kind; where it is known what each was to be, that is the better question
        self.tracked = "perceptual" if paired and hasattr(self.net, "maps") else TRACKED
        indices, split = real_indices(data, split, most)
        self.indices = indices
        self.real = self.features_of(data, indices)
        self.classes = data.label_of(indices)  # of the reals, (N,) int64; None where there are none
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
            pairs=task if paired else "",
        )

    def measure(
        self, G: nn.Module, *, class_counts: Sequence[int] = (), unseen: Callable[..., Batch] | None = None
    ) -> dict[str, float]:
        """Metrics of samples of G, always the same ones; also the modes they are at, of data that has such.

        Where G makes images from others, `unseen` deals held-out ones; of pairs, how near it comes is measured too.
        """
        told = self.protocol
        net = self.net if self.tracked == "perceptual" else None
        held = Compared(unseen, not self.shown.unpaired, net) if self.shown and unseen else None
        blocks = draw(
            G, told.num_fake, seed=mix("judge", told.seed), class_counts=class_counts,
            shown=held and held.shown, device=self.device,
        )  # fmt: skip
        seen = self.look(held.watch(blocks) if held else blocks)
        return measure(self.real, seen.features, k=told.k) | seen.modes | (held.near() if held else {})

    def features_of(self, data: Data, indices: np.ndarray) -> Tensor:
        """(N, D), of images of any data set of the same shape."""
        blocks = np.array_split(indices, -(-len(indices) // BLOCK))
        return self._extract(map(data.images, blocks))

    def _extract(self, blocks: Iterable[Tensor]) -> Tensor:
        def count(images: int) -> None:
            self.looked_at += images
            self.seen(self.looked_at)

        return extract(self.net, blocks, self.device, kept=self.kept, seen=count)

    def images(self, most: int) -> Tensor:
        """Of the real images, so many at most."""
        return self.data.images(self.indices[:most])

    def look(self, blocks: Blocks, *, keep: bool = False) -> Seen:
        """What there is to know of fakes; `keep` their images too, which for large ones takes memory."""
        classes: list[Tensor] = []
        kept: list[Tensor] = []
        keep = keep or bool(self.data.measures)

        def images() -> Iterator[Tensor]:
            for made, ids in blocks:
                if ids is not None:
                    classes.append(ids)
                kept.extend([made] if keep else [])
                yield made

        features = self._extract(images())
        own = features if self.protocol.features == self.data.features else None
        pictures = torch.cat(kept) if kept else None
        modes = {} if pictures is None else self.data.modes(pictures, own)
        return Seen(features, torch.cat(classes) if classes else None, pictures, modes)


def real_indices(data: Data, split: str, most: int) -> tuple[np.ndarray, str]:
    """Indices of a split, at most `most`, evenly spread. Data too small to hold any out is judged by what it has."""
    splits = {"heldout": data.heldout, "train": data.train}
    if split not in splits:
        raise UserError(f"--split {split}: valid: {', '.join(splits)}")
    if split == "heldout" and len(data.heldout) < 8:
        split = "train"
    indices = splits[split]
    return indices[np.linspace(0, len(indices) - 1, min(len(indices), most)).astype(np.int64)], split
