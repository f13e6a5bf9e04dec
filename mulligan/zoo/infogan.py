"""`infogan`: a code in the noise that must be recognisable in the image."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def infogan() -> Recipe:
    """One code of ten values: on digits without labels, they come to represent the ten digits."""
    return derived(
        dcgan(),
        name="infogan",
        about="part of the noise is a code that D learns to predict from the image, so it becomes meaningful",
        paper="Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel 2016, InfoGAN: Interpretable Representation "
        "Learning by Information Maximizing Generative Adversarial Nets, arXiv 1606.03657",
        generator=Part("dcgan", codes=10),
        discriminator=Part("dcgan", codes=10),
        terms={"information": Term(1.0)},
        optimizer=OptimizerPair(
            generator=Part("adam", lr=1e-3, beta1=0.5, beta2=0.999),
            discriminator=Part("adam", lr=2e-4, beta1=0.5, beta2=0.999),
        ),
    )
