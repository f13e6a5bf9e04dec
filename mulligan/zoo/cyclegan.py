"""`cyclegan` as published, and `restyle`: the same game, lean, for two CPU cores and small pictures."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Schedule, Term
from mulligan.core.registry import recipes


@recipes.register()
def cyclegan() -> Recipe:
    """Sections 3, 4 and 5.2 of the paper. A batch of 2 is one image of each kind, once each way.

    D's loss is not halved, which Adam would not notice.
    """
    adam = Part("adam", lr=Schedule("late-linear", 2e-4, 0.0), beta1=0.5, beta2=0.999)
    return Recipe(
        name="cyclegan",
        about="two generators, there and back again: what comes back is to be what went",
        paper="Zhu, Park, Isola, Efros 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial "
        "Networks, arXiv 1703.10593",
        generator=Part("translator", width=64, blocks=9, norm="instance"),
        discriminator=Part("patch", width=64, strides=3, last=4, norm="instance"),
        loss=Part("least-squares"),
        terms={"cycle": Term(10.0), "identity": Term(5.0), "pool": Term(0.5, size=50)},
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("style", ways=2),
        augment=Part("jitter"),
        ema=0,
        batch=2,
        budget=Budget(epochs=400),  # 200 of each kind
    )


@recipes.register()
def restyle() -> Recipe:
    """The default of `--task style`. Without a norm G's pictures are soon black or white all over, and stay so.

    Of as many images, steps of 8 taught it more than steps of 32. A cycle of 3 slows G down, and one of 10 holds it.
    """
    adam = Part("adam", lr=Schedule("cosine", 1e-3, 0.0), beta1=0.5, beta2=0.99)
    slope = Term(1e-3, every=8)  # small, as it is the slope of D's words on all patches summed
    return Recipe(
        name="restyle",
        about="both ways by slim U-nets, Ds of small patches, there and back again: minutes of a CPU",
        paper="Mulligan; parts from arXiv 1703.10593, 1611.07004, 1807.00734, 2501.05441",
        generator=Part("unet", width=24, most=96, levels=2, kernel=3, norm="instance"),
        discriminator=Part("patch", width=32, strides=2, norm="none"),
        loss=Part("relativistic"),
        terms={"cycle": Term(1.0), "r1": slope, "r2": slope},  # no identity, beside which G soon changes nothing at all
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("style", ways=2),
        ema=500,
        ema_clock="learning",
        batch=8,
        budget=Budget(minutes=5),
    )
