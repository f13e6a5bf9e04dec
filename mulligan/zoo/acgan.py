"""`acgan`: a discriminator with an auxiliary classifier."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def acgan() -> Recipe:
    """DCGAN's networks; in G the class embedding multiplies the noise, in D a classifier is added."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="acgan",
        about="D also classifies samples, and G is rewarded for samples whose class D recognises",
        paper="Odena, Olah, Shlens 2017, Conditional Image Synthesis with Auxiliary Classifier GANs, arXiv 1610.09585",
        discriminator=Part("dcgan", class_by="classifier"),
        terms={"auxiliary": Term(1.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class"),
    )
