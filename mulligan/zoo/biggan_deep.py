"""`biggan-deep`, and `logan`, which optimises the noise."""

from __future__ import annotations

from mulligan.core.recipe import Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.biggan import biggan, biggan_imagenet128


@recipes.register("biggan-deep")
def biggan_deep() -> Recipe:
    """A width for a laptop; `biggan-deep-imagenet128` has the published one."""
    return derived(
        biggan(),
        name="biggan-deep",
        about="bottlenecks, twice the blocks, and skip connections that drop or append channels: deeper, but smaller",
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
    """BigGAN-deep with leaky ReLU, whose gradient is nowhere zero, and twice the noise numbers, as in the paper.

    Both players learn through the update of the noise, so they do not share fakes. After training, samples are
    generated without it.
    """
    base = biggan_deep()
    return derived(
        base,
        name="logan",
        about="the noise first takes a gradient step that raises D's logit, and both players learn through that step",
        paper="Wu, Donahue, Balduzzi, Simonyan, Lillicrap 2019, LOGAN: Latent Optimisation for Generative Adversarial "
        "Networks, arXiv 1912.00953",
        generator=base.generator.with_options(z=128, slope=0.2),
        discriminator=base.discriminator.with_options(slope=0.2),
        terms={"latent-search": Term(0.9), "latent-distance": Term(300.0)},
        share_fakes=False,
    )
