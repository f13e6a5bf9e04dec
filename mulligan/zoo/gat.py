"""`gat` and its published sizes."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Term, derived
from mulligan.core.registry import recipes

WIDTH = 64  # a laptop's


def rate(width: int) -> float:
    """Width-aware: a wider network learns more slowly, as 1 / width (Hyun 2025, sec. 4)."""
    return 2e-4 * 768 / width


@recipes.register()
def gat() -> Recipe:
    """A laptop's size, on pixels; `gat-b` and others have the published ones, of latents."""
    adam = Part("adam", lr=rate(WIDTH), beta1=0.0, beta2=0.99)
    penalty = Term(0.1, sigma=0.01, share=0.25)  # the paper takes all of the batch
    return Recipe(
        name="gat",
        about="plain transformers in G and D; G draws in stages, and D sees the earlier ones through more noise",
        paper="Hyun, Lee, Heo 2025, Scalable GANs with Transformers, arXiv 2509.24935",
        generator=Part("gat", width=WIDTH),
        discriminator=Part("gat", width=WIDTH),
        loss=Part("relativistic"),
        terms={"stage-noise": Term(1.0), "r1": penalty, "r2": penalty},
        augment=Part("diffaugment"),
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=10_000,
        batch=32,
        budget=Budget(images=2_000_000),
    )


def _published(size: str, width: int, depth: int, head: int) -> Recipe:
    """The paper's sizes; without its optional alignment with a feature net. Gradients are at most of norm 1.

    Latents are had by `--autoencoder FOLDER`, a diffusers `AutoencoderKL` that makes 256x256 eight times smaller.
    """
    adam = Part("adam-by-norm", lr=rate(width), beta1=0.0, beta2=0.99, norm=1.0)
    penalty = Term(0.1, sigma=0.01)
    net = {"width": width, "depth": depth, "head": head, "patch": 2}
    return derived(
        gat(),
        name=f"gat-{size}",
        about=f"GAT-{size.upper()}/2 as published for latents of ImageNet at 256x256 (4x32x32)",
        generator=Part("gat", **net),
        discriminator=Part("gat", **net, embed=2048),
        terms={"stage-noise": Term(1.0), "r1": penalty, "r2": penalty},
        augment=Part("diffaugment", policy=("color", "translation", "cutout", "flip")),
        optimizer=Players(generator=adam, discriminator=adam),
        ema=354_700,  # 0.999 a step
        batch=512,
        budget=Budget(images=76_900_000),  # 60 epochs
    )


@recipes.register("gat-s")
def gat_s() -> Recipe:
    return _published("s", 384, 12, 64)


@recipes.register("gat-b")
def gat_b() -> Recipe:
    return _published("b", 768, 12, 64)


@recipes.register("gat-l")
def gat_l() -> Recipe:
    return _published("l", 1024, 24, 64)


@recipes.register("gat-xl")
def gat_xl() -> Recipe:
    return _published("xl", 1152, 28, 72)
