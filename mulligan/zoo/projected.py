"""`projected`: D judges features of a pretrained network."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe
from mulligan.core.registry import recipes


@recipes.register()
def projected() -> Recipe:
    """A size for a laptop; without classes, as published."""
    adam = Part("adam", lr=2e-4, beta1=0.0, beta2=0.99)
    return Recipe(
        name="projected",
        about="several small D judge random mixtures of the features of a frozen network, each at one scale",
        paper="Sauer, Chitta, Müller, Geiger 2021, Projected GANs Converge Faster, arXiv 2111.01007",
        generator=Part("fastgan"),
        discriminator=Part("projected"),
        loss=Part("hinge"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        augment=Part("diffaugment"),
        ema=10_000,
        batch=64,
        budget=Budget(samples=2_000_000),
    )
