"""`gan`, `cgan`: the original GAN."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, derived
from mulligan.core.registry import recipes


@recipes.register()
def gan() -> Recipe:
    """The paper's networks for MNIST. The paper trains with SGD and momentum; Adam is the common choice since."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="gan",
        about="a generator learns from a discriminator that separates real from generated samples, both dense networks",
        paper="Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio 2014, Generative "
        "Adversarial Networks, arXiv 1406.2661",
        generator=Part("mlp"),
        discriminator=Part("mlp", dropout=0.5),
        loss=Part("nonsaturating"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=0,
        batch=64,
    )


@recipes.register()
def cgan() -> Recipe:
    """Both players get the class."""
    return derived(
        gan(),
        name="cgan",
        about="both players get the class as one more input, next to the noise and next to the sample",
        paper="Mirza, Osindero 2014, Conditional Generative Adversarial Nets, arXiv 1411.1784",
        task=Part("by-class"),
    )
