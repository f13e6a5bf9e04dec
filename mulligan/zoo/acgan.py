"""`acgan`: a discriminator that also tells classes apart."""

from __future__ import annotations

from mulligan.core.recipe import Part, Players, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def acgan() -> Recipe:
    """DCGAN's networks; the class times the noise in G, a classifier beside the logit in D."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return derived(
        dcgan(),
        name="acgan",
        about="D names the class of what it sees, and G is rewarded for images whose class it can name",
        paper="Odena, Olah, Shlens 2017, Conditional Image Synthesis with Auxiliary Classifier GANs, arXiv 1610.09585",
        discriminator=Part("dcgan", class_by="classifier"),
        terms={"auxiliary": Term(1.0)},
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("by-class"),
    )
