"""The frozen autoencoder of a run on latents: trained on the data or loaded from a folder, and saved with the run."""

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
FORMAT = 1  # of trained autoencoders; with another number they are trained again
STEPS, BATCH = 600, 16
JUDGED = 16  # pictures that the PSNR is measured on
RATES = (RATE, RATE / 4)  # learning rates: if training fails with the first, it is repeated with the second
LEAST = 0.5  # share of the variance between pictures: with an error above it, training has failed
CROP = 64  # side of the crops of larger pictures that it is trained on: it works alike at every position
WEIGHTS = "autoencoder.safetensors"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Latents:
    """An autoencoder, and a data set that it has encoded."""

    autoencoder: Autoencoder
    pictures: Dataset
    encoded: LatentDataset
    stamp: str  # of the codec's weights

    @property
    def data(self) -> Dataset:
        """The data set of latents, which the game is trained on."""
        return self.encoded.data

    @property
    def factor(self) -> int:
        """How many times larger pictures are than latents, along a side."""
        return self.autoencoder.codec.factor

    @functools.cached_property
    @torch.inference_mode()
    def decibels(self) -> float:
        """PSNR of pictures after encoding and decoding, clipped as in training: the mean over some held-out ones."""
        pictures = self.pictures
        rows = pictures.heldout[:JUDGED] if len(pictures.heldout) else pictures.train[:JUDGED]
        latents = self.data.records(rows).to(self.autoencoder.middle.device)
        return psnr(to_uint8(self.autoencoder.decode(latents)).cpu(), pictures.records(rows)).mean().item()

    def __str__(self) -> str:
        clipped = f"{self.encoded.clipped:.2%} of their numbers are clipped"
        decoded = f"decoded pictures have a PSNR of {self.decibels:.1f} dB"
        return f"autoencoder {self.autoencoder.codec.describe}: latents {_x(self.data.shape)}, {clipped}, {decoded}"

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
    """Within this context, advice of a network about the size of latents becomes advice about the size of pictures.

    `factor`: how many times larger pictures are; 1 if networks see pictures.
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
    """The data as latents of the autoencoder that `spec` names: "self" or a folder.

    The autoencoder is trained and the data are encoded if that was not done before. `saved`: the file in which a run
    has its autoencoder; it is read if it exists. `fits` is called with the shape of latents before any slow work, and
    raises UserError if they cannot be used. `progress` is called with the number of images done and of all images,
    `say` with a message before slow work.

    Raises UserError for data that are not images, or whose size or channels the autoencoder does not take.
    """
    refuse_other_kind("--autoencoder", {"image"}, data.sample)
    loaded = read_saved(saved, spec, device) if saved and saved.exists() else None
    codec = loaded.codec if loaded else codec_for(spec, data.shape)
    shape = latent_shape(codec, spec, data.shape)
    with in_pictures(codec.factor):
        fits(shape)
    if spec == OWN and not loaded:
        codec = own(data, device, progress, say)
    codec = codec.to(device).eval().requires_grad_(False)
    stamp = stamp_of(codec)

    @torch.inference_mode()
    def encode(images: Tensor) -> Tensor:
        return codec.encode(to_float(images.to(device))).float().cpu()

    encoded = open_latents(data, encode, shape, stamp, progress=progress)
    if loaded:
        encoded = encoded.scaled_as(loaded.middle.flatten().cpu(), loaded.unit.flatten().cpu())
    autoencoder = loaded or Autoencoder(codec, encoded.middle, encoded.unit).to(device)
    return Latents(autoencoder, data, encoded, stamp)


def codec_for(spec: str, shape: tuple[int, int, int]) -> Codec:
    """A codec by name or folder. "self" is untrained here, which is enough to know the size of its latents."""
    channels, height, width = shape
    return Coder(channels, halvings_for(height, width)) if spec == OWN else read_folder(Path(spec))


def own(data: Dataset, device: torch.device, progress: Progress, say: Callable[[str], None]) -> Coder:
    """The autoencoder trained on the data's training images, now or earlier. It depends on nothing but the images."""
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
        say(f"autoencoder self: is trained on {len(data.train):,} images, once, in about a minute")
        images = batch(STEPS).to(device)
        for rate in RATES:
            net = learnt(inputs, halvings, batch, steps=STEPS, rate=rate, device=device)
            with torch.inference_mode():
                error = (net.decode(net.encode(images)) - images).square().mean()
            if error < LEAST * images.var(0).mean():
                break
        else:
            raise UserError(
                f"{data.name}: --autoencoder self has not learnt to reconstruct these pictures; leave it out, or give "
                "the folder of another autoencoder"
            )
        save_file(_weights(net), draft / WEIGHTS)

    return ensure(cache_root(None) / f"autoencoder-{key}", read, write)


def _weights(net: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}


def latent_shape(codec: Codec, spec: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape of latents of pictures of `shape`. Raises UserError if the codec does not take such pictures."""
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
    """Write what a run needs to load it: the scale, and the weights if it was trained here; otherwise its folder."""
    codec, autoencoder = made.autoencoder.codec, made.autoencoder
    tensors = {"middle": autoencoder.middle.flatten().cpu(), "unit": autoencoder.unit.flatten().cpu()}
    facts = {"format": FORMAT, "of": spec, "stamp": made.stamp}
    if isinstance(codec, Coder):
        tensors |= {f"codec.{name}": tensor for name, tensor in _weights(codec).items()}
        facts |= {"inputs": codec.inputs, "halvings": codec.factor.bit_length() - 1}
    write_whole(path, save(tensors, {"facts": json.dumps(facts)}))


def read_saved(path: Path, spec: str, device: torch.device) -> Autoencoder:
    """Load what `save_with_run` wrote. Raises UserError, with the file, if it is damaged or the codec has changed."""
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
        why = "no such file" if not path.exists() else f"not a valid autoencoder ({error})"
        raise UserError(f"{path}: {why}; the run cannot make pictures without it") from None
    if stamp_of(codec) != facts["stamp"]:
        raise UserError(f"{spec}: its weights have changed since the run of {path.parent} began")
    return autoencoder.to(device)


def _x(sides: Any) -> str:
    return "x".join(map(str, sides))
