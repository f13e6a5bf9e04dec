"""A first guess of where a picture lies, by a net that has learnt from G's own samples; kept in the run's folder."""

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
from mulligan.latent.search import Found
from mulligan.latent.spaces import Space
from mulligan.metrics.classifier import Classifier, taught
from mulligan.metrics.features.net import stamp_of
from mulligan.runs.run import Run

FORMAT = 1  # another number has encoders learnt anew
STEPS, BATCH = 1500, 64
PIXELS = 10.0  # weight of pixels, whose error is small, beside places and class


@dataclass
class Encoder:
    """Pictures to places, and to classes where G is told any."""

    net: Classifier
    space: Space
    classes: int

    @torch.no_grad()
    def guess(self, pictures: Tensor, wanted: int | None) -> Found:
        """(N, C, H, W) in [-1, 1] -> a place for each, and its class, which may be known."""
        places, logits = read(self.net(pictures), self.space)
        if not self.classes:
            return Found(places, None)
        told = logits.argmax(1) if wanted is None else torch.full((len(pictures),), wanted, device=places.device)
        return Found(places, told)


def read(out: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """What the net says, (B, numbers + K) -> places (B, *shape), logits of classes (B, K)."""
    numbers = torch.Size(space.shape).numel()
    return space.middle + space.unit * out[:, :numbers].unflatten(1, space.shape), out[:, numbers:]


def encoder_for(run: Run, space: Space, *, steps: int = STEPS, progress: Callable[[int, int], None]) -> Encoder:
    """The run's encoder into a space: learnt now, or read, if it was learnt of the same G before.

    Samples are as many as one wants, and where each lies is known: it learns place and class of them, and that G makes
    the same picture of its guess (Zhu 2016, arXiv 1609.03552, sec. 3.2, and beside it the place, as in Donahue 2017,
    arXiv 1605.09782, where G's half of the pairs is this).
    """
    shape = tuple(run.description["data"]["shape"])
    width = torch.Size(space.shape).numel() + len(run.classes)
    path = run.path / "latent" / f"encoder-{space.name}.safetensors"
    facts = {"format": FORMAT, "of": stamp_of(run.G), "steps": steps, "space": space.name}
    try:
        with safe_open(path, "pt") as file:
            if json.loads((file.metadata() or {}).get("facts", "null")) == facts:
                net = Classifier(shape, width)
                net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                net = net.to(run.device, memory_format=torch.channels_last)  # as it was taught
                return Encoder(net.eval().requires_grad_(False), space, len(run.classes))
    except (OSError, SafetensorError, RuntimeError, ValueError):
        pass  # none, or none that is whole: it is learnt

    def loss(net: Classifier, step: int) -> Tensor:
        progress(step, steps)
        dice = generator_at("encoder", step)
        z = torch.randn(BATCH, *run.G.z_shape, generator=dice).to(run.device)
        cond = torch.randint(len(run.classes), (BATCH,), generator=dice).to(run.device) if run.classes else None
        with torch.no_grad():
            places = space.places(z, cond)
            pictures = space.pictures(places, cond)
        guessed, logits = read(net(pictures.clamp(-1, 1)), space)
        total = ((guessed - places) / space.unit).square().mean()
        total = total + PIXELS * (space.pictures(guessed, cond) - pictures).square().mean()
        return total if cond is None else total + F.cross_entropy(logits, cond)

    net = taught(shape, width, loss, steps=steps, seed=0, device=run.device)
    weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_whole(path, save(weights, {"facts": json.dumps(facts)}))
    return Encoder(net, space, len(run.classes))
