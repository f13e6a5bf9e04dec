"""`lsgan`: squared errors in place of cross-entropy."""

from __future__ import annotations

from mulligan.core.recipe import Part, Players, Recipe, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def lsgan() -> Recipe:
    """DCGAN's networks, and the paper's Adam."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="lsgan",
        about="least squares: what D is sure about still pulls, the more the farther it is from the data",
        paper="Mao, Li, Xie, Lau, Wang, Smolley 2017, Least Squares Generative Adversarial Networks, arXiv 1611.04076",
        loss=Part("least-squares"),
        optimizer=Players(generator=adam, discriminator=adam),
    )
