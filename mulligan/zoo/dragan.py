"""`dragan`: a gradient penalty near the real samples only."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def dragan() -> Recipe:
    """DCGAN without dropout, whose randomness would disturb the gradient penalty."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="dragan",
        about="sharp gradients of D around real images cause mode collapse, so they are pulled to norm 1",
        paper="Kodali, Abernethy, Hays, Kira 2017, On Convergence and Stability of GANs, arXiv 1705.07215",
        discriminator=Part("dcgan", dropout=0.0),
        terms={"dragan": Term(10.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        batch=64,
    )
