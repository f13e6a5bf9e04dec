"""`fastgan`: fast training on few images."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Term
from mulligan.core.registry import recipes


@recipes.register()
def fastgan() -> Recipe:
    """A size for a laptop; without classes, as published."""
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="fastgan",
        about="a light G whose coarse grids scale the channels of fine ones; D must reconstruct what it judges",
        paper="Liu, Zhu, Song, Elgammal 2021, Towards Faster and Stabilized GAN Training for High-fidelity Few-shot "
        "Image Synthesis, arXiv 2101.04775",
        generator=Part("fastgan"),
        discriminator=Part("fastgan"),
        loss=Part("hinge"),
        terms={"reconstruction": Term(1.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        augment=Part("diffaugment"),
        ema=5_500,  # 0.999 per step
        batch=8,
        budget=Budget(samples=800_000),  # 100,000 steps
    )
