"""A net that guesses the latent point of an image. It is trained on G's own samples and kept in the run folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.run import write_whole
from mulligan.core.seeding import generator_at
from mulligan.latent.spaces import LatentBatch, Space, class_condition
from mulligan.metrics.classifier import Classifier, trained
from mulligan.metrics.features.net import stamp_of
from mulligan.runs.run import Run

FORMAT = 1  # an encoder of another format is trained again
STEPS, BATCH = 1500, 64
PIXEL_WEIGHT = 10.0  # of the pixel error, which is small compared with those of latent and class


@dataclass
class Encoder:
    """Images to latents, and to classes where G is given any."""

    net: Classifier
    space: Space
    classes: int

    @torch.no_grad()
    def guess(self, images: Tensor, wanted: int | None) -> LatentBatch:
        """(N, C, H, W) in [-1, 1] -> a point for each, and its class: `wanted`, or a guess as well."""
        latents, logits = split_output(self.net(images), self.space)
        if not self.classes:
            return LatentBatch(latents, None)
        ids = logits.argmax(1) if wanted is None else torch.full((len(images),), wanted, device=latents.device)
        return LatentBatch(latents, ids)


def split_output(out: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """The net's output (B, numbers + K) -> latents (B, *shape), logits of classes (B, K)."""
    numbers = torch.Size(space.shape).numel()
    return space.mean + space.std * out[:, :numbers].unflatten(1, space.shape), out[:, numbers:]


def encoder_for(run: Run, space: Space, *, steps: int = STEPS, progress: Callable[[int, int], None]) -> Encoder:
    """The run's encoder into a space: read from the run folder if it was trained for the same G, else trained now.

    Samples are unlimited, and the latent of each is known. The net learns latent and class, and that G makes the same
    image of its guess (Zhu 2016, arXiv 1609.03552, sec. 3.2; the latent as in Donahue 2017, arXiv 1605.09782, of which
    this is G's half of the pairs).
    """
    shape = run.sample_kind.shape
    width = torch.Size(space.shape).numel() + len(run.classes)
    path = run.path / "latent" / f"encoder-{space.name}.safetensors"
    facts = {"format": FORMAT, "of": stamp_of(run.G), "steps": steps, "space": space.name}
    try:
        with safe_open(path, "pt") as file:
            if json.loads((file.metadata() or {}).get("facts", "null")) == facts:
                net = Classifier(shape, width)
                net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                net = net.to(run.device, memory_format=torch.channels_last)  # as it was trained
                return Encoder(net.eval().requires_grad_(False), space, len(run.classes))
    except (OSError, SafetensorError, RuntimeError, ValueError):
        pass  # there is none, or it is damaged: train it

    def loss(net: Classifier, step: int) -> Tensor:
        progress(step, steps)
        rng = generator_at("encoder", step)
        z = torch.randn(BATCH, *run.G.z_shape, generator=rng).to(run.device)
        ids = torch.randint(len(run.classes), (BATCH,), generator=rng).to(run.device) if run.classes else None
        cond = class_condition(ids)
        with torch.no_grad():
            latents = space.latents(z, cond)
            images = space.images(latents, cond)
        guessed, logits = split_output(net(images.clamp(-1, 1)), space)
        total = ((guessed - latents) / space.std).square().mean()
        total = total + PIXEL_WEIGHT * (space.images(guessed, cond) - images).square().mean()
        return total if ids is None else total + F.cross_entropy(logits, ids)

    net = trained(shape, width, loss, steps=steps, seed=0, device=run.device)
    weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_whole(path, save(weights, {"facts": json.dumps(facts)}))
    return Encoder(net, space, len(run.classes))
