"""`sagan`: a convolution sees its neighbours; attention sees the whole picture."""

from __future__ import annotations

from mulligan.core.recipe import Part, Players, Recipe, derived
from mulligan.core.registry import recipes
from mulligan.zoo.sngan import sngan


@recipes.register()
def sagan() -> Recipe:
    """Attention at half the image's side, which small images have place for; the paper has it at a quarter of 128."""
    return derived(
        sngan(),
        name="sagan",
        about="self-attention in G and D, spectral norm in both, and D learns four times as fast as G",
        paper="Zhang, Goodfellow, Metaxas, Odena 2019, Self-Attention Generative Adversarial Networks, "
        "arXiv 1805.08318",
        generator=Part("resnet", norm="class", attention=1, spectral=True),
        discriminator=Part("resnet", attention=1),
        task=Part("by-class-if-labelled"),
        optimizer=Players(
            generator=Part("adam", lr=1e-4, beta1=0.0, beta2=0.9),
            discriminator=Part("adam", lr=4e-4, beta1=0.0, beta2=0.9),
        ),
        d_turns=1,
    )
