"""`fastgan`: from few images, soon."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Term
from mulligan.core.registry import recipes


@recipes.register()
def fastgan() -> Recipe:
    """A laptop's size, without classes, as published."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="fastgan",
        about="a light G whose coarse grids scale the channels of fine ones; D must be able to redraw what it judges",
        paper="Liu, Zhu, Song, Elgammal 2021, Towards Faster and Stabilized GAN Training for High-fidelity Few-shot "
        "Image Synthesis, arXiv 2101.04775",
        generator=Part("fastgan"),
        discriminator=Part("fastgan"),
        loss=Part("hinge"),
        terms={"reconstruction": Term(1.0)},
        optimizer=Players(generator=adam, discriminator=adam),
        augment=Part("diffaugment"),
        ema=5_500,  # 0.999 a step
        batch=8,
        budget=Budget(images=800_000),  # 100,000 steps
    )
