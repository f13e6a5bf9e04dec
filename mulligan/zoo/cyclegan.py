"""`cyclegan` as published, and `restyle`: the same game, small enough for two CPU cores."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term
from mulligan.core.registry import recipes


@recipes.register()
def cyclegan() -> Recipe:
    """Sections 3, 4 and 5.2 of the paper. A batch of 2 is one image of each set, one for each direction.

    D's loss is not halved as in the paper: Adam's steps do not depend on the scale of the loss.
    """
    adam = Part("adam", lr=Schedule("late-linear", 2e-4, 0.0), beta1=0.5, beta2=0.999)
    return Recipe(
        name="cyclegan",
        about="two generators, one per direction: an image translated there and back must be what it was",
        paper="Zhu, Park, Isola, Efros 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial "
        "Networks, arXiv 1703.10593",
        generator=Part("translator", width=64, blocks=9, norm="instance"),
        discriminator=Part("patch", width=64, strides=3, last=4, norm="instance"),
        loss=Part("least-squares"),
        terms={"cycle": Term(10.0), "identity": Term(5.0), "pool": Term(0.5, size=50)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("style", directions=2),
        augment=Part("jitter"),
        ema=0,
        batch=2,
        budget=Budget(epochs=400),  # 200 of each set
    )


@recipes.register()
def restyle() -> Recipe:
    """The default of `--task style`. Without a norm, G's images soon become all black or all white, and stay so.

    For the same number of images, batches of 8 gave better results than batches of 32. A cycle weight of 3 makes G
    learn slowly, and one of 10 stops it.
    """
    adam = Part("adam", lr=Schedule("cosine", 1e-3, 0.0), beta1=0.5, beta2=0.99)
    slope = Term(1e-3, every=8)  # small: it penalises the gradient of the sum of all patch logits
    return Recipe(
        name="restyle",
        about="both directions by small U-nets, Ds of small patches, cycle consistency: minutes on a CPU",
        paper="Mulligan; parts from arXiv 1703.10593, 1611.07004, 1807.00734, 2501.05441",
        generator=Part("unet", width=24, most=96, levels=2, kernel=3, norm="instance"),
        discriminator=Part("patch", width=32, strides=2, norm="none"),
        loss=Part("relativistic"),
        terms={"cycle": Term(1.0), "r1": slope, "r2": slope},  # no identity term: with it, G soon changes nothing
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("style", directions=2),
        ema=500,
        ema_clock="learning",
        batch=8,
        budget=Budget(minutes=5),
    )
