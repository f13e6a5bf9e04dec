"""`tacgan`, `adcgan`: two corrections of the bias of an auxiliary classifier."""

from __future__ import annotations

from mulligan.core.recipe import Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.acgan import acgan


@recipes.register()
def tacgan() -> Recipe:
    """A second classifier is trained on fakes, and G is penalised for fakes that are easy for it."""
    return derived(
        acgan(),
        name="tacgan",
        about="an auxiliary classifier biases G to easily classified samples; a twin, trained on fakes, removes this",
        paper="Gong, Xu, Li, Zhang, Batmanghelich 2019, Twin Auxiliary Classifiers GAN, arXiv 1907.02690",
        discriminator=Part("dcgan", class_by="twin"),
        terms={"twin": Term(1.0)},
    )


@recipes.register()
def adcgan() -> Recipe:
    """One classifier with twice as many classes: real ones and generated ones."""
    return derived(
        tacgan(),
        name="adcgan",
        about="the classifier also separates real and generated samples of each class, so it shows what G lacks",
        paper="Hou, Cao, Shen, Pan, Cheng 2022, Conditional GANs with Auxiliary Discriminative Classifier, "
        "arXiv 2107.10060",
        terms={"discriminative": Term(1.0)},
    )
