"""`ebgan`, `began`: the discriminator is an autoencoder, and a small reconstruction error means real."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes


@recipes.register()
def ebgan() -> Recipe:
    """The networks are BEGAN's; margin and pull-away weight are for the mean error per number of the image."""
    adam = Part("adam", lr=1e-3, beta1=0.5, beta2=0.999)
    return Recipe(
        name="ebgan",
        about="D is an energy, the error of an autoencoder: low on data, elsewhere raised up to a margin",
        paper="Zhao, Mathieu, LeCun 2017, Energy-based Generative Adversarial Network, arXiv 1609.03126",
        generator=Part("autoencoder"),
        discriminator=Part("autoencoder", error="l2"),
        loss=Part("margin", margin=0.2),
        terms={"pull-away": Term(0.1)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=0,
        batch=64,
    )


@recipes.register()
def began() -> Recipe:
    """The weight of fakes in D's loss is controlled, so that the errors on fakes and reals keep a ratio."""
    adam = Part("adam", lr=1e-4, beta1=0.5, beta2=0.999)
    return derived(
        ebgan(),
        name="began",
        about="matches the distributions of errors, not of images, and keeps those of fakes and reals in a fixed ratio",
        paper="Berthelot, Schumm, Metz 2017, BEGAN: Boundary Equilibrium Generative Adversarial Networks, "
        "arXiv 1703.10717",
        discriminator=Part("autoencoder"),
        loss=Part("wasserstein"),
        terms={"equilibrium": Term(1.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
    )
