"""`digits`: the default, made for two CPU cores and a few minutes."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Schedule, Term
from mulligan.core.registry import recipes


@recipes.register()
def digits() -> Recipe:
    """Small residual networks, a lazy R1, no momentum, a learning rate that falls to zero with the budget."""
    adam = Part("adam", lr=Schedule("cosine", 2e-3, 0.0), beta1=0.0, beta2=0.99)
    return Recipe(
        name="digits",
        about="small pixel-shuffle networks, by class where there are labels, a lazy R1: quality per minute of a CPU",
        paper="Mulligan; parts from arXiv 1609.05158, 1801.04406, 1802.05637, 1912.04958",
        generator=Part("shuffle", width=32),
        discriminator=Part("shuffle", width=16),
        loss=Part("nonsaturating"),
        terms={"r1": Term(0.5, every=8)},
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=500,
        ema_clock="learning",
        batch=64,
        budget=Budget(minutes=5),
    )
