"""`sagan`: self-attention, which relates all positions of an image, added to convolutions."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, derived
from mulligan.core.registry import recipes
from mulligan.zoo.sngan import sngan


@recipes.register()
def sagan() -> Recipe:
    """Attention at half the image's side, which also suits small images; the paper has it at a quarter of 128."""
    return derived(
        sngan(),
        name="sagan",
        about="self-attention and spectral norm in G and D, and a learning rate of D four times that of G",
        paper="Zhang, Goodfellow, Metaxas, Odena 2019, Self-Attention Generative Adversarial Networks, "
        "arXiv 1805.08318",
        generator=Part("resnet", norm="class", attention=1, spectral=True),
        discriminator=Part("resnet", attention=1),
        task=Part("by-class-if-labelled"),
        optimizer=OptimizerPair(
            generator=Part("adam", lr=1e-4, beta1=0.0, beta2=0.9),
            discriminator=Part("adam", lr=4e-4, beta1=0.0, beta2=0.9),
        ),
        d_turns=1,
    )
