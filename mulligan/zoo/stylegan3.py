"""`stylegan3-t` and `stylegan3-r`: generators that are equivariant to translation, and also to rotation."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.stylegan2 import stylegan2

ADAM = Part("adam", lr=2e-3, beta1=0.0, beta2=0.99)
FAST = ADAM.with_options(lr=2.5e-3)


@recipes.register("stylegan3-t")
def stylegan3_t() -> Recipe:
    """A size for a laptop: fewer layers, smaller margins. `stylegan3-t-ffhq1024` has the published one."""
    return derived(
        stylegan2(),
        name="stylegan3-t",
        about="every layer is filtered against aliasing, so that details move with the objects they belong to",
        paper="Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen, Aila 2021, Alias-Free Generative Adversarial "
        "Networks, arXiv 2106.12423",
        generator=Part("stylegan3"),
        terms={"r1": Term(1.0, every=16)},
        optimizer=OptimizerPair(generator=FAST, discriminator=ADAM),
    )


@recipes.register("stylegan3-r")
def stylegan3_r() -> Recipe:
    return derived(
        stylegan3_t(),
        name="stylegan3-r",
        about="1x1 kernels and isotropic filters, so that details also rotate with the objects they belong to",
        generator=Part("stylegan3", rotation=True),
    )


@recipes.register("stylegan3-t-ffhqu256")
def stylegan3_t_ffhqu256() -> Recipe:
    return derived(
        stylegan3_t(),
        name="stylegan3-t-ffhqu256",
        about="StyleGAN3-T as published for FFHQ-U at 256x256",
        generator=Part("stylegan3", layers=14, margin=10, base=16384, most=512, z=512, styles=512),
        discriminator=Part("stylegan2", base=16384, most=512),
        optimizer=OptimizerPair(generator=FAST, discriminator=FAST),
        ema=20_000,
        batch=64,
        budget=Budget(samples=25_000_000),
    )


@recipes.register("stylegan3-r-ffhqu256")
def stylegan3_r_ffhqu256() -> Recipe:
    parent = stylegan3_t_ffhqu256()
    return derived(
        parent,
        name="stylegan3-r-ffhqu256",
        about="StyleGAN3-R as published for FFHQ-U at 256x256; D sees blurred images at the beginning",
        generator=parent.generator.with_options(rotation=True),
        terms={**parent.terms, "blur": Term(Schedule("linear", 10.0, 0.0, 200_000))},
    )


@recipes.register("stylegan3-t-ffhq1024")
def stylegan3_t_ffhq1024() -> Recipe:
    return derived(
        stylegan3_t(),
        name="stylegan3-t-ffhq1024",
        about="StyleGAN3-T as published for FFHQ at 1024x1024",
        generator=Part("stylegan3", layers=14, margin=10, base=32768, most=512, z=512, styles=512),
        discriminator=Part("stylegan2", base=32768, most=512),
        terms={"r1": Term(32.8, every=16)},
        budget=Budget(samples=25_000_000),
    )


@recipes.register("stylegan3-r-ffhq1024")
def stylegan3_r_ffhq1024() -> Recipe:
    parent = stylegan3_t_ffhq1024()
    return derived(
        parent,
        name="stylegan3-r-ffhq1024",
        about="StyleGAN3-R as published for FFHQ at 1024x1024; D sees blurred images at the beginning",
        generator=parent.generator.with_options(rotation=True),
        terms={**parent.terms, "blur": Term(Schedule("linear", 10.0, 0.0, 200_000))},
    )
