"""`digits`: the default, made for two CPU cores and a few minutes."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term
from mulligan.core.registry import recipes


@recipes.register()
def digits() -> Recipe:
    """Small residual networks, lazy R1 and R2, no momentum, a learning rate that decays to zero over the budget."""
    penalty = Term(0.5, every=8)
    # without clip, one unusual batch ruined a D
    adam = Part("adam", lr=Schedule("cosine", 2e-3, 0.0), beta1=0.0, beta2=0.99, clip=3.0)
    return Recipe(
        name="digits",
        about="small pixel-shuffle networks, by class if labelled, lazy R1 and R2: for quality per minute on a CPU",
        paper="Mulligan; parts from arXiv 1609.05158, 1801.04406, 1802.05637, 1912.04958, 2501.05441",
        generator=Part("shuffle", width=32),
        discriminator=Part("shuffle", width=16),
        loss=Part("nonsaturating"),
        terms={"r1": penalty, "r2": penalty},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=500,
        ema_clock="learning",
        batch=64,
        budget=Budget(minutes=5),
    )
