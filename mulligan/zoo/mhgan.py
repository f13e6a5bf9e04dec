"""`mhgan`: a hinge loss for several classes."""

from __future__ import annotations

from mulligan.core.recipe import Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.sagan import sagan


@recipes.register()
def mhgan() -> Recipe:
    """SAGAN, whose D has both a class projection and a classifier."""
    return derived(
        sagan(),
        name="mhgan",
        about="the classifier has a hinge loss too: the score of the true class must exceed all others by a margin",
        paper="Kavalerov, Czaja, Chellappa 2021, A Multi-Class Hinge Loss for Conditional GANs, arXiv 1912.04216",
        discriminator=Part("resnet", attention=1, class_by="both"),
        terms={"multi-hinge": Term(1.0)},
        task=Part("by-class"),
    )
