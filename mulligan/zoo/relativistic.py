"""`relativistic`, `relativistic-average`: D compares real with generated samples instead of judging each alone."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def relativistic() -> Recipe:
    """In pairs (RSGAN). R3GAN is built on it."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="relativistic",
        about="D estimates how much more real a real image is than a generated one, and G learns to reverse this",
        paper="Jolicoeur-Martineau 2018, The relativistic discriminator: a key element missing from standard GAN, "
        "arXiv 1807.00734",
        loss=Part("relativistic"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        share_fakes=False,
    )


@recipes.register("relativistic-average")
def relativistic_average() -> Recipe:
    """Each sample against the mean of the other kind (RaSGAN)."""
    return derived(
        relativistic(),
        name="relativistic-average",
        about="D estimates how much more real an image is than the average image of the other kind",
        loss=Part("relativistic-average"),
    )
