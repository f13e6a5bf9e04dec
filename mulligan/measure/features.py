"""The feature net of an evaluation. A net that learns from the data is trained first, or loaded from the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mulligan.augment.operations import SampleRng, augment
from mulligan.core import registry
from mulligan.core.batch import to_float
from mulligan.core.recipe import Part
from mulligan.core.seeding import endless_order, mix
from mulligan.data import Dataset
from mulligan.data.cache import cache_root, ensure
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.features.own import OwnNet

FORMAT = 1  # of trained nets; with another number they are trained again
BATCH = 64
VIEWS = ("shift", "scale", "slide", "brightness", "contrast", "saturation", "cutout")  # how two views differ
WEIGHTS = "net.safetensors"


def feature_net(features: str | Part, data: Dataset, device: torch.device | str = "cpu") -> tuple[Part, FeatureNet]:
    """The part that `features` names, and its net; "auto": the default for the data.

    Raises UserError for a net that does not take samples of this kind.
    """
    part = Part.read(data.features if features == "auto" else features)
    registry.refuse(registry.features, part.name, data.sample)
    net = part.build(registry.features)
    return part, trained(net, data, device) if isinstance(net, OwnNet) else net


def trained(net: OwnNet, data: Dataset, device: torch.device | str) -> OwnNet:
    """The net, trained on the data's training images, now or earlier."""
    by_class = len(data.classes) > 1
    net.build(data.shape, len(data.classes) if by_class else 0)
    key = hashlib.blake2b(repr((FORMAT, data.fingerprint, net.steps, net.seed)).encode(), digest_size=12).hexdigest()

    def read(folder: Path) -> OwnNet | None:
        try:
            net.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError):
            return None
        return net

    def write(draft: Path) -> None:
        net.learn(_batches(data, net.seed, by_class), device)
        save_file({name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}, draft / WEIGHTS)

    ensure(cache_root(None) / f"self-{key}", read, write)
    net.ready(f"learnt by {f'{len(data.classes)} classes' if by_class else 'contrast'}")
    return net


def _batches(data: Dataset, seed: int, by_class: bool) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Batches of training images and their classes, or of two views of each image."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rows = data.train[endless_order(len(data.train), seed, step * BATCH, BATCH)]
        images = to_float(data.records(rows))
        if by_class:
            labels = data.label_of(rows)
            assert labels is not None
            return images, labels
        rngs = (SampleRng(mix("self", seed, step, view), 1.0, BATCH, BATCH, images.device) for view in (0, 1))
        one, other = (augment(images, VIEWS, each) for each in rngs)
        return one, other

    return batch
