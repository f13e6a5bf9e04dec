"""The frozen autoencoder of a run on latents: trained on the data or read from a folder, and kept with the run."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.core.sample import refuse_other_kind
from mulligan.core.seeding import endless_order
from mulligan.data import Dataset
from mulligan.data.cache import cache_root, ensure
from mulligan.data.latents import LatentDataset, open_latents
from mulligan.metrics.features.net import stamp_of
from mulligan.metrics.pictures import psnr
from mulligan.models.coder import RATE, Codec, Coder, halvings_for, learnt, read_folder
from mulligan.models.decoded import Autoencoder

OWN = "self"
FORMAT = 1  # of learnt ones; another number has them learnt anew
STEPS, BATCH = 600, 16
JUDGED = 16  # pictures that the PSNR is measured on
RATES = (RATE, RATE / 4)  # of learning: what nothing came of is learnt again, more slowly
LEAST = 0.5  # of the differences between pictures: an error from which it has learnt nothing
CROP = 64  # side of what it learns from of larger pictures: what it does is the same everywhere
WEIGHTS = "autoencoder.safetensors"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Latents:
    """An autoencoder, and a data set as it encodes it."""

    autoencoder: Autoencoder
    pictures: Dataset
    encoded: LatentDataset
    stamp: str  # of the codec's weights

    @property
    def data(self) -> Dataset:
        """What the game is played with."""
        return self.encoded.data

    @property
    def factor(self) -> int:
        """By how much pictures are larger than latents, along a side."""
        return self.autoencoder.codec.factor

    @functools.cached_property
    @torch.inference_mode()
    def decibels(self) -> float:
        """PSNR of pictures after encoding and decoding, clipped as in training: the mean over a few held-out ones."""
        pictures = self.pictures
        rows = pictures.heldout[:JUDGED] if len(pictures.heldout) else pictures.train[:JUDGED]
        latents = self.data.records(rows).to(self.autoencoder.middle.device)
        return psnr(to_uint8(self.autoencoder.decode(latents)).cpu(), pictures.records(rows)).mean().item()

    def __str__(self) -> str:
        clipped = f"{self.encoded.clipped:.2%} of their numbers are clipped"
        again = f"decoded pictures have a PSNR of {self.decibels:.1f} dB"
        return f"autoencoder {self.autoencoder.codec.describe}: latents {_x(self.data.shape)}, {clipped}, {again}"

    def as_json(self) -> dict[str, Any]:
        return {
            "describe": self.autoencoder.codec.describe,
            "stamp": self.stamp,
            "shape": list(self.data.shape),
            "clipped": self.encoded.clipped,
            "psnr": self.decibels,
        }


@contextmanager
def in_pictures(factor: int) -> Iterator[None]:
    """Within, what a network says of sizes, which it knows as those of latents, becomes advice about pictures.

    `factor`: by how much these are larger; 1, where networks see pictures.
    """
    try:
        yield
    except UserError as error:
        if factor == 1:
            raise
        advice = re.sub(
            r"--size (\d+)x(\d+)", lambda m: f"--size {factor * int(m[1])}x{factor * int(m[2])}", str(error)
        )
        raise UserError(f"{advice} (networks see latents, {factor} times smaller than pictures)") from None


def latents_of(
    spec: str,
    data: Dataset,
    device: torch.device,
    *,
    saved: Path | None = None,
    fits: Callable[[tuple[int, int, int]], object] = lambda shape: None,
    progress: Progress,
    say: Callable[[str], None] = lambda text: None,
) -> Latents:
    """The data behind the autoencoder that `spec` names, "self" or a folder; learnt and encoded where it has to be.

    `saved`: the file that a run has it in, which is read if it is there. `fits` is asked about latents of a
    shape before anything takes long, and raises UserError where they are of no use. `progress` is told images done and
    of how many, `say` what takes long.

    Raises UserError for data that are no pictures, or of a size or channels that it does not take.
    """
    refuse_other_kind("--autoencoder", {"image"}, data.sample)
    there = read_saved(saved, spec, device) if saved and saved.exists() else None
    codec = there.codec if there else codec_for(spec, data.shape)
    shape = latent_shape(codec, spec, data.shape)
    with in_pictures(codec.factor):
        fits(shape)
    if spec == OWN and not there:
        codec = own(data, device, progress, say)
    codec = codec.to(device).eval().requires_grad_(False)
    stamp = stamp_of(codec)

    @torch.inference_mode()
    def encode(images: Tensor) -> Tensor:
        return codec.encode(to_float(images.to(device))).float().cpu()

    encoded = open_latents(data, encode, shape, stamp, progress=progress)
    if there:
        encoded = encoded.scaled_as(there.middle.flatten().cpu(), there.unit.flatten().cpu())
    autoencoder = there or Autoencoder(codec, encoded.middle, encoded.unit).to(device)
    return Latents(autoencoder, data, encoded, stamp)


def codec_for(spec: str, shape: tuple[int, int, int]) -> Codec:
    """By name or folder. "self" as it is before it learns, which is enough to know what it makes of pictures' sizes."""
    channels, height, width = shape
    return Coder(channels, halvings_for(height, width)) if spec == OWN else read_folder(Path(spec))


def own(data: Dataset, device: torch.device, progress: Progress, say: Callable[[str], None]) -> Coder:
    """The one that has learnt the data's training images, now or once before. Images alone decide what it becomes."""
    inputs, height, width = data.shape
    halvings = halvings_for(height, width)
    key = hashlib.blake2b(repr((FORMAT, data.fingerprint, STEPS, RATES)).encode(), digest_size=12).hexdigest()

    def batch(step: int) -> Tensor:
        progress(step * BATCH, STEPS * BATCH)
        images = to_float(data.records(data.train[endless_order(len(data.train), 0, step * BATCH, BATCH)]))
        rng = torch.Generator().manual_seed(step)
        top, left = (
            int(torch.randint((max(0, side - CROP) >> halvings) + 1, (), generator=rng)) << halvings
            for side in (height, width)
        )
        return images[:, :, top : top + CROP, left : left + CROP]

    def read(folder: Path) -> Coder | None:
        net = Coder(inputs, halvings)
        try:
            net.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError):
            return None
        return net.eval().requires_grad_(False)

    def write(draft: Path) -> None:
        say(f"autoencoder self: learns from {len(data.train):,} images, once, in about a minute")
        seen = batch(STEPS).to(device)
        for rate in RATES:
            net = learnt(inputs, halvings, batch, steps=STEPS, rate=rate, device=device)
            with torch.inference_mode():
                error = (net.decode(net.encode(seen)) - seen).square().mean()
            if error < LEAST * seen.var(0).mean():
                break
        else:
            raise UserError(
                f"{data.name}: --autoencoder self has not learnt to bring these pictures back; leave it out, or name "
                "the folder of another"
            )
        save_file(_weights(net), draft / WEIGHTS)

    return ensure(cache_root(None) / f"autoencoder-{key}", read, write)


def _weights(net: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}


def latent_shape(codec: Codec, spec: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Of pictures of `shape`. Raises UserError for what the codec does not take."""
    channels, *sides = shape
    if channels != codec.inputs:
        raise UserError(
            f"--autoencoder {spec}: takes pictures of {codec.inputs} channels, not {channels}; see --channels"
        )
    if any(side % codec.factor for side in sides):
        near = [max(1, round(side / codec.factor)) * codec.factor for side in sides]
        raise UserError(
            f"--autoencoder {spec}: needs sides that are multiples of {codec.factor}, not {_x(sides)}; "
            f"try --size {_x(near)}"
        )
    return codec.channels, sides[0] // codec.factor, sides[1] // codec.factor


def save_with_run(path: Path, spec: str, made: Latents) -> None:
    """Write what a run needs of it: the weights of a learnt one, and only where to find those of another; the scale."""
    codec, autoencoder = made.autoencoder.codec, made.autoencoder
    tensors = {"middle": autoencoder.middle.flatten().cpu(), "unit": autoencoder.unit.flatten().cpu()}
    facts = {"format": FORMAT, "of": spec, "stamp": made.stamp}
    if isinstance(codec, Coder):
        tensors |= {f"codec.{name}": tensor for name, tensor in _weights(codec).items()}
        facts |= {"inputs": codec.inputs, "halvings": codec.factor.bit_length() - 1}
    write_whole(path, save(tensors, {"facts": json.dumps(facts)}))


def read_saved(path: Path, spec: str, device: torch.device) -> Autoencoder:
    """What `save_with_run` wrote. Raises UserError, naming the file, where it is not whole or the codec has changed."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if spec == OWN:
            codec: Codec = Coder(facts["inputs"], facts["halvings"])
            codec.load_state_dict({name[6:]: each for name, each in tensors.items() if name.startswith("codec.")})
        else:
            codec = read_folder(Path(spec))
        autoencoder = Autoencoder(codec, tensors["middle"], tensors["unit"])
    except UserError:
        raise
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        why = "no such file" if not path.exists() else f"not a whole autoencoder ({error})"
        raise UserError(f"{path}: {why}; the run cannot make pictures without it") from None
    if stamp_of(codec) != facts["stamp"]:
        raise UserError(f"{spec}: its weights have changed since the run of {path.parent} began")
    return autoencoder.to(device)


def _x(sides: Any) -> str:
    return "x".join(map(str, sides))
