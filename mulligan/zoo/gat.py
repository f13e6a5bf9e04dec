"""`gat` and its published sizes."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes

WIDTH = 64  # for a laptop


def rate(width: int) -> float:
    """The learning rate for a width: proportional to 1 / width (Hyun 2025, sec. 4)."""
    return 2e-4 * 768 / width


@recipes.register()
def gat() -> Recipe:
    """A size for a laptop, on pixels; `gat-s` to `gat-xl` have the published sizes, on latents."""
    adam = Part("adam", lr=rate(WIDTH), beta1=0.0, beta2=0.99)
    penalty = Term(0.1, sigma=0.01, share=0.25)  # in the paper, on the whole batch
    return Recipe(
        name="gat",
        about="plain transformers in G and D; G has several output stages, and D sees earlier ones with more noise",
        paper="Hyun, Lee, Heo 2025, Scalable GANs with Transformers, arXiv 2509.24935",
        generator=Part("gat", width=WIDTH),
        discriminator=Part("gat", width=WIDTH),
        loss=Part("relativistic"),
        terms={"stage-noise": Term(1.0), "r1": penalty, "r2": penalty},
        augment=Part("diffaugment"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=10_000,
        batch=32,
        budget=Budget(samples=2_000_000),
    )


def _published(size: str, width: int, depth: int, head: int) -> Recipe:
    """The paper's sizes, without its optional alignment with a feature net. Gradients are clipped to norm 1.

    For latents give `--autoencoder FOLDER`: a diffusers `AutoencoderKL` that reduces the sides by 8, 256x256 to 32x32.
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
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=354_700,  # 0.999 per step
        batch=512,
        budget=Budget(samples=76_900_000),  # 60 epochs
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
