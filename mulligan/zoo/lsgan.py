"""`lsgan`: squared errors instead of cross-entropy."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def lsgan() -> Recipe:
    """DCGAN's networks, and the paper's Adam."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="lsgan",
        about="least squares: fakes that D rejects confidently still give a gradient, larger the farther they are off",
        paper="Mao, Li, Xie, Lau, Wang, Smolley 2017, Least Squares Generative Adversarial Networks, arXiv 1611.04076",
        loss=Part("least-squares"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
    )
