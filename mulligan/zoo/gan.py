"""`gan`, `cgan`: where it began."""

from __future__ import annotations

from mulligan.core.recipe import Part, Players, Recipe, derived
from mulligan.core.registry import recipes


@recipes.register()
def gan() -> Recipe:
    """The paper's networks for MNIST. It has SGD with momentum there; Adam is what everyone has used since."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="gan",
        about="a generator learns from a discriminator that is told real from generated, both dense networks",
        paper="Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio 2014, Generative "
        "Adversarial Networks, arXiv 1406.2661",
        generator=Part("mlp"),
        discriminator=Part("mlp", dropout=0.5),
        loss=Part("nonsaturating"),
        optimizer=Players(generator=adam, discriminator=adam),
        ema=0,
        batch=64,
    )


@recipes.register()
def cgan() -> Recipe:
    """Both players are told the class."""
    return derived(
        gan(),
        name="cgan",
        about="the class goes into both players, beside the noise and beside the image",
        paper="Mirza, Osindero 2014, Conditional Generative Adversarial Nets, arXiv 1411.1784",
        task=Part("by-class"),
    )
