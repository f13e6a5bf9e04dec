"""`points`: for points in a plane, where a plot shows which modes are found."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes


@recipes.register()
def points() -> Recipe:
    """R3GAN's loss and penalties on small dense networks."""
    adam = Part("adam", lr=Schedule("cosine", 2e-3, 0.0), beta1=0.0, beta2=0.99)
    penalty = Term(0.01)
    return Recipe(
        name="points",
        about="relativistic pairs and zero-centred penalties on small dense networks: all modes of a toy in seconds",
        paper="Mulligan; parts from arXiv 1406.2661, 1801.04406, 2501.05441",
        generator=Part("mlp", widths=(128, 128, 128), z=16, bounded=False),
        discriminator=Part("mlp", widths=(128, 128, 128), pieces=1),
        loss=Part("relativistic"),
        terms={"r1": penalty, "r2": penalty},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=5_000,
        ema_clock="learning",
        batch=64,
        budget=Budget(samples=1_000_000),
    )


@recipes.register()
def dense() -> Recipe:
    """Wider networks and stronger penalties, for samples of more numbers; where a kind names no recipe of its own."""
    penalty = Term(0.5)
    return derived(
        points(),
        name="dense",
        about="the recipe points with wider networks and stronger penalties: a beginning for samples of any kind",
        generator=Part("mlp", widths=(256, 256, 256), z=64, bounded=False),
        discriminator=Part("mlp", widths=(256, 256, 256), pieces=1),
        terms={"r1": penalty, "r2": penalty},
    )
