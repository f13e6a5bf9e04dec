"""From images to points of a run's latent space, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import to_float, to_uint8
from mulligan.core.errors import UserError
from mulligan.core.sample import refuse_other_kind
from mulligan.core.seeding import mix
from mulligan.latent.encoder import encoder_for
from mulligan.latent.files import Latents
from mulligan.latent.search import LatentSearch, SearchSettings, Target
from mulligan.latent.spaces import LatentBatch, Space, space_of
from mulligan.metrics.features.net import FeatureNet, stamp_of
from mulligan.metrics.pictures import perceptual_distance
from mulligan.nn.frozen import Frozen
from mulligan.runs.run import Run


@dataclass(frozen=True)
class Inverted:
    """What was found for N images."""

    latents: Latents
    images: Tensor  # uint8 (N, C, H, W), made by G from the latents; known pixels of a masked image are kept as given
    psnr: Tensor  # (N,) decibels, of what was known
    perceptual: Tensor  # (N,) perceptual distance, of what was known


class _MapsOnCPU(FeatureNet):
    """A net that computes on its device; the maps come back to the CPU."""

    has_maps = True

    def __init__(self, net: Frozen, device: torch.device) -> None:
        super().__init__()
        self.net, self.device = net, device

    def maps(self, samples: Tensor) -> list[Tensor]:
        return [each.cpu() for each in self.net(samples.to(self.device))]


def refuse_without_latents(run: Run, what: str) -> None:
    """Raises UserError for a run whose samples are not images made from noise."""
    refuse_other_kind(what, {"image"}, run.sample_kind)
    if run.from_images:
        raise UserError(f"{run.path}: makes images from images; {what} is for a run that makes them from noise")


def space_for(run: Run, name: str = "auto") -> Space:
    """A latent space of the run's generator."""
    return space_of(run.G, name, run.class_counts, run.device)


class LatentFinder:
    """Searches a run's latent space for images. One finder serves any number of them.

    Args:
        space: z, or for generators with styles w or w+; auto is w where there are styles.
        class_: the class, where G is given one; by default every class is tried.
        shrink: the images are known only so many times smaller, by bicubic interpolation with antialiasing.
        encoder: start also from the guess of a net, which is trained first where the run has none yet.
        features: the feature net, one with maps, that compares images in addition to pixels.
        samples: how many answers for each image, from different starting points.
        search: how the search runs.
        progress: called with (step, of how many) while an encoder is trained.
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
        search: SearchSettings | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        refuse_without_latents(run, "invert")
        self.run, self.shrink, self.wanted = run, shrink, run.class_id(class_)
        self.shape = run.sample_kind.shape
        if samples < 1:
            raise UserError(f"--samples {samples}: at least 1")
        if shrink < 1 or any(side % shrink for side in self.shape[1:]):
            good = [n for n in range(2, min(self.shape[1:]) // 2 + 1) if not any(s % n for s in self.shape[1:])]
            size = "x".join(map(str, self.shape[1:]))
            raise UserError(f"--shrink {shrink}: for images of {size}, valid: {', '.join(map(str, good)) or 'none'}")
        if encoder and shrink > 1:
            raise UserError("--encoder needs complete images; leave it out with --shrink")
        self.space = space_for(run, space)
        maps = Frozen(features).to(run.device)
        self.compared_by = _MapsOnCPU(maps, run.device)
        # the guess for w+ is one in w: a net that guesses a style for each layer has no more to learn from
        self.encoder = encoder_for(run, space_for(run, self.space.name[0]), progress=progress) if encoder else None
        classes = None if not run.classes else range(len(run.classes)) if self.wanted is None else [self.wanted]
        self.searches = [
            LatentSearch(
                self.space, run.G.z_shape, classes, degrade=self.degrade, maps=maps, settings=search,
                seed=mix("answer", seed, k) if k else seed, device=run.device,
            )
            for k in range(samples)
        ]  # fmt: skip

    def degrade(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> what would be known of it, (B, C, H / shrink, W / shrink)."""
        if self.shrink == 1:
            return images
        size = (images.shape[2] // self.shrink, images.shape[3] // self.shrink)
        return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)

    def made_small(self, images: Tensor) -> Tensor:
        """`degrade` of uint8 (N, C, H, W), in 8 bits as a file would hold it."""
        return to_uint8(self.degrade(to_float(images)))

    def __call__(self, images: Tensor, holes: Tensor | None = None) -> list[Inverted]:
        """uint8 (N, C, h, w), bool (N, 1, h, w) that is True in holes, or None -> an answer for each of `samples`."""
        floats = to_float(images)
        weights = torch.ones_like(floats[:, :1]) if holes is None else (~holes).float()
        if not weights.flatten(1).any(1).all():
            raise UserError("a mask covers its whole image; it must be black where the image is known")
        if self.encoder and holes is not None:
            raise UserError("--encoder needs complete images; leave it out with --mask")
        guess = self.encoder and self.encoder.guess(floats.to(self.run.device), self.wanted)
        if guess and guess.latents.shape[1:] != self.space.shape:
            guess = LatentBatch(guess.latents.expand(-1, *self.space.shape), guess.classes)
        return [self._answer(search, Target(floats, weights), images, holes, guess) for search in self.searches]

    def _answer(
        self, search: LatentSearch, target: Target, images: Tensor, holes: Tensor | None, guess: LatentBatch | None
    ) -> Inverted:
        found = search.find(target, guess)
        made = to_uint8(search.images(found)).cpu()
        ours, theirs = (to_uint8(to_float(each) * target.weights) for each in (self.made_small(made), images))
        error = (ours.double() - theirs.double()).flatten(1).square().sum(1)
        error = error / (target.weights.flatten(1).sum(1) * self.shape[0])
        return Inverted(
            Latents(self.space.name, found.latents, found.classes, stamp_of(self.run.G)),
            made if holes is None else torch.where(holes, made, images),
            10 * torch.log10(255**2 / error.clamp(min=255**2 * 1e-10)),
            perceptual_distance(self.compared_by, ours, theirs),
        )
