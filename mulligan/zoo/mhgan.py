"""`mhgan`: the hinge, for as many classes as there are."""

from __future__ import annotations

from mulligan.core.recipe import Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.sagan import sagan


@recipes.register()
def mhgan() -> Recipe:
    """SAGAN, whose D is told the class by projection and has a classifier beside."""
    return derived(
        sagan(),
        name="mhgan",
        about="the classifier learns by a hinge too: enough is a class's score a margin above all others",
        paper="Kavalerov, Czaja, Chellappa 2021, A Multi-Class Hinge Loss for Conditional GANs, arXiv 1912.04216",
        discriminator=Part("resnet", attention=1, class_by="both"),
        terms={"multi-hinge": Term(1.0)},
        task=Part("by-class"),
    )
