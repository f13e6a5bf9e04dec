"""`relativistic`, `relativistic-average`: D compares real with generated, rather than judging each by itself."""

from __future__ import annotations

from mulligan.core.recipe import Part, Players, Recipe, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def relativistic() -> Recipe:
    """Pair by pair (RSGAN). R3GAN is what became of it."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="relativistic",
        about="D says how much more real a real image is than a generated one, and G turns that round",
        paper="Jolicoeur-Martineau 2018, The relativistic discriminator: a key element missing from standard GAN, "
        "arXiv 1807.00734",
        loss=Part("relativistic"),
        optimizer=Players(generator=adam, discriminator=adam),
        share_fakes=False,
    )


@recipes.register("relativistic-average")
def relativistic_average() -> Recipe:
    """Each against the mean of the others (RaSGAN)."""
    return derived(
        relativistic(),
        name="relativistic-average",
        about="D says how much more real an image is than the others are on average",
        loss=Part("relativistic-average"),
    )
