"""`biggan-deep`, and `logan`, which searches the noise."""

from __future__ import annotations

from mulligan.core.recipe import Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.biggan import biggan, biggan_imagenet128


@recipes.register("biggan-deep")
def biggan_deep() -> Recipe:
    """A laptop's width; `biggan-deep-imagenet128` has the published one."""
    return derived(
        biggan(),
        name="biggan-deep",
        about="bottlenecks, twice the blocks, and ways past them that only drop or add channels: deeper, yet smaller",
        paper="Brock, Donahue, Simonyan 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis, "
        "arXiv 1809.11096",
        generator=Part("biggan-deep", z=64, embed=32, attention=1),
        discriminator=Part("biggan-deep", attention=1),
        terms={},
    )


@recipes.register("biggan-deep-imagenet128")
def biggan_deep_imagenet128() -> Recipe:
    wide = biggan_imagenet128()
    return derived(
        biggan_deep(),
        name="biggan-deep-imagenet128",
        about="BigGAN-deep as published for ImageNet at 128x128",
        generator=Part("biggan-deep", width=128, attention=1),
        discriminator=Part("biggan-deep", width=128, attention=1),
        ema=wide.ema,
        batch=wide.batch,
        budget=wide.budget,
    )


@recipes.register()
def logan() -> Recipe:
    """BigGAN-deep with leaky activations, whose slopes a search can follow, and twice the noise, as in the paper.

    Both players learn through what the search found, so they do not share fakes. Samples are drawn without a search.
    """
    base = biggan_deep()
    return derived(
        base,
        name="logan",
        about="before G draws, the noise takes a step up D's slope, and both players learn through that step",
        paper="Wu, Donahue, Balduzzi, Simonyan, Lillicrap 2019, LOGAN: Latent Optimisation for Generative Adversarial "
        "Networks, arXiv 1912.00953",
        generator=base.generator.with_options(z=128, slope=0.2),
        discriminator=base.discriminator.with_options(slope=0.2),
        terms={"latent-search": Term(0.9), "latent-distance": Term(300.0)},
        share_fakes=False,
    )
