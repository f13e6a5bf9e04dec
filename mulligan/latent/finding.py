"""Pictures as places in a model's latent space: found, kept in a file, and read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.errors import UserError
from mulligan.core.run import write_whole
from mulligan.core.seeding import mix
from mulligan.latent.encoder import encoder_for
from mulligan.latent.search import Found, Inverter, Known, Search, everything
from mulligan.latent.spaces import Space, space_of
from mulligan.metrics.features.net import stamp_of
from mulligan.metrics.pictures import maps_apart
from mulligan.nn.frozen import Frozen
from mulligan.runs.run import Run


@dataclass(frozen=True)
class Latents:
    """Places of pictures in a space of a model: `save` and `read`, as safetensors."""

    space: str  # z, w, or w+
    places: Tensor  # (N, *shape)
    classes: Tensor | None  # (N,) int64, where G is told any
    of: str  # stamp of the generator that they are places of
    names: list[str] = field(default_factory=list)  # of the pictures

    def save(self, path: str | Path) -> None:
        tensors = {"places": self.places.cpu().contiguous()}
        if self.classes is not None:
            tensors["classes"] = self.classes.cpu().contiguous()
        facts = {"kind": "latents", "space": self.space, "of": self.of, "names": self.names}
        write_whole(Path(path), save(tensors, {"facts": json.dumps(facts)}))

    @classmethod
    def read(cls, path: str | Path, run: Run | None = None) -> Latents:
        """Raises UserError for a file that holds none, or holds places of another generator than the run's."""
        tensors, facts = read_facts(Path(path), "latents", run)
        return cls(facts["space"], tensors["places"], tensors.get("classes"), facts["of"], facts["names"])


def read_facts(path: Path, kind: str, run: Run | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a file, and what it says of them. Raises UserError unless it is of that kind, and of that run's G."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        missing = not path.is_file()
        raise UserError(f"{path}: {'no such file' if missing else f'not a whole safetensors file ({error})'}") from None
    if facts.get("kind") != kind:
        maker = {"latents": "mulligan invert", "directions": "mulligan edit directions"}[kind]
        raise UserError(f"{path}: holds no {kind}; {maker} writes them")
    if run is not None and facts["of"] != stamp_of(run.G):
        raise UserError(f"{path}: its {kind} are of another generator, or another checkpoint, than {run.path} has")
    return tensors, facts


@dataclass(frozen=True)
class Inverted:
    """What came of pictures."""

    latents: Latents
    pictures: Tensor  # uint8 (N, C, H, W), what G makes of them; what a mask left is as it was given
    psnr: Tensor  # (N,) decibels, of what was known
    apart: Tensor  # (N,) perceptual distance, of what was known


def refuse_without_noise(run: Run, what: str) -> None:
    """Raises UserError for a run whose pictures do not lie in a latent space."""
    if run.shown:
        raise UserError(f"{run.path}: makes images from images; {what} is for a run that makes them from noise")
    if len(run.description["data"]["shape"]) != 3:
        raise UserError(f"{run.path}: makes points, not pictures; {what} is for pictures")


def space_for(run: Run, name: str = "auto") -> Space:
    """A latent space of the run's generator."""
    return space_of(run.G, name, run.description["data"]["class_counts"] if run.classes else (), run.device)


class Finder:
    """Searches a run's latent space for pictures; made once, it serves any number of them.

    Args:
        space: z, or for generators with styles w or w+; auto is w where there are styles.
        class_: the class, where G is told one; else each is tried.
        shrink: pictures are known only as they look so many times smaller, by bicubic interpolation with antialiasing.
        encoder: begin also from the guess of a net, which is taught first where the run has none yet.
        features: the feature net that is looked through beside pixels, one with maps.
        samples: as many answers for each, from other starts.
        progress: told how far the teaching of an encoder is.
    """

    def __init__(
        self,
        run: Run,
        *,
        space: str = "auto",
        class_: str | int | None = None,
        shrink: int = 1,
        encoder: bool = False,
        features: str = "random",
        samples: int = 1,
        seed: int = 0,
        search: Search | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        refuse_without_noise(run, "invert")
        self.run, self.shrink, self.wanted = run, shrink, run.class_id(class_)
        self.shape = tuple(run.description["data"]["shape"])
        if samples < 1:
            raise UserError(f"--samples {samples}: at least 1")
        if shrink < 1 or any(side % shrink for side in self.shape[1:]):
            good = [n for n in range(2, min(self.shape[1:]) // 2 + 1) if not any(s % n for s in self.shape[1:])]
            size = "x".join(map(str, self.shape[1:]))
            raise UserError(f"--shrink {shrink}: of {size} pictures, valid: {', '.join(map(str, good)) or 'none'}")
        if encoder and shrink > 1:
            raise UserError("--encoder reads whole pictures; leave it out with --shrink")
        self.space = space_for(run, space)
        maps = Frozen(features).to(run.device)
        self.measuring = SimpleNamespace(maps=lambda images: [each.cpu() for each in maps(images.to(run.device))])
        # w+ begins in w: a net that guesses each layer's style apart has no more to go by
        self.encoder = encoder_for(run, space_for(run, self.space.name[0]), progress=progress) if encoder else None
        classes = None if not run.classes else range(len(run.classes)) if self.wanted is None else [self.wanted]
        self.inverters = [
            Inverter(
                self.space, run.G.z_shape, classes, seen=self.seen, maps=maps, search=search,
                seed=mix("answer", seed, k) if k else seed, device=run.device,
            )
            for k in range(samples)
        ]  # fmt: skip

    def seen(self, made: Tensor) -> Tensor:
        """(B, C, H, W) -> what would be known of it, (B, C, H / shrink, W / shrink)."""
        if self.shrink == 1:
            return everything(made)
        size = (made.shape[2] // self.shrink, made.shape[3] // self.shrink)
        return F.interpolate(made, size=size, mode="bicubic", antialias=True, align_corners=False)

    def made_small(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> the same as `seen`, in 8 bits, as a file would hold it."""
        return to_uint8(self.seen(to_float(images)))

    def __call__(self, images: Tensor, holes: Tensor | None = None) -> list[Inverted]:
        """uint8 (N, C, h, w), bool (N, 1, h, w) that is True in holes, or None -> an answer for every sample."""
        pictures = to_float(images)
        weights = torch.ones_like(pictures[:, :1]) if holes is None else (~holes).float()
        if not weights.flatten(1).any(1).all():
            raise UserError("a mask leaves nothing of its picture; it is to be black where the picture is known")
        if self.encoder and holes is not None:
            raise UserError("--encoder reads whole pictures; leave it out with --mask")
        first = self.encoder and self.encoder.guess(pictures.to(self.run.device), self.wanted)
        if first and first.places.shape[1:] != self.space.shape:
            first = Found(first.places.expand(-1, *self.space.shape), first.classes)
        return [self._answer(inverter, Known(pictures, weights), images, holes, first) for inverter in self.inverters]

    def _answer(
        self, inverter: Inverter, known: Known, images: Tensor, holes: Tensor | None, first: Found | None
    ) -> Inverted:
        found = inverter.find(known, first)
        made = to_uint8(inverter.pictures(found)).cpu()
        ours, theirs = (to_uint8(to_float(each) * known.weights) for each in (self.made_small(made), images))
        error = (ours.double() - theirs.double()).flatten(1).square().sum(1)
        error = error / (known.weights.flatten(1).sum(1) * self.shape[0])
        return Inverted(
            Latents(self.space.name, found.places, found.classes, stamp_of(self.run.G)),
            made if holes is None else torch.where(holes, made, images),
            10 * torch.log10(255**2 / error.clamp(min=255**2 * 1e-10)),
            maps_apart(self.measuring, ours, theirs),  # type: ignore[arg-type]
        )
