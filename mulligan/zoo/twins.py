"""`tacgan`, `adcgan`: what an auxiliary classifier gets wrong, and two ways to mend it."""

from __future__ import annotations

from mulligan.core.recipe import Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.acgan import acgan


@recipes.register()
def tacgan() -> Recipe:
    """A second classifier learns from fakes what is too easy to tell, and G is not paid for that."""
    return derived(
        acgan(),
        name="tacgan",
        about="an auxiliary classifier makes G draw only what is easy to name; a twin that learns from fakes undoes it",
        paper="Gong, Xu, Li, Zhang, Batmanghelich 2019, Twin Auxiliary Classifiers GAN, arXiv 1907.02690",
        discriminator=Part("dcgan", class_by="twin"),
        terms={"twin": Term(1.0)},
    )


@recipes.register()
def adcgan() -> Recipe:
    """One classifier of twice as many classes: real ones and generated ones."""
    return derived(
        tacgan(),
        name="adcgan",
        about="the classifier also tells a real three from a generated three, so that it says what G still lacks",
        paper="Hou, Cao, Shen, Pan, Cheng 2022, Conditional GANs with Auxiliary Discriminative Classifier, "
        "arXiv 2107.10060",
        terms={"discriminative": Term(1.0)},
    )
