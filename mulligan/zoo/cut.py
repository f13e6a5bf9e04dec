"""`cut` and `fastcut` as published, and `restyle-cut`: the same game, lean, for two CPU cores and small pictures."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes


@recipes.register()
def cut() -> Recipe:
    """Section 3 and appendix C of the paper: one way only.

    Not as there: D's patches are of 54 pixels instead of 70, its loss is not halved, the rate falls from the beginning,
    and nothing is enlarged and cropped anew.
    """
    adam = Part("adam", lr=Schedule("linear", 2e-4, 0.0), beta1=0.5, beta2=0.999)
    return Recipe(
        name="cut",
        about="one generator: each place of what it makes is told by what was shown there, among other places",
        paper="Park, Efros, Zhang, Zhu 2020, Contrastive Learning for Unpaired Image-to-Image Translation, "
        "arXiv 2007.15651",
        generator=Part("translator", width=64, blocks=9, norm="instance", heads=256),
        discriminator=Part("patch", width=64, strides=3, norm="instance"),
        loss=Part("least-squares"),
        terms={"patch-nce": Term(1.0), "identity-nce": Term(1.0)},
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("style", ways=1),
        ema=0,
        batch=1,
        budget=Budget(epochs=400),
    )


@recipes.register()
def fastcut() -> Recipe:
    """Section 4 of the paper. Not as there: pictures are not mirrored to hold G to it."""
    return derived(
        cut(),
        name="fastcut",
        about="no look at what is at home already, and ten times the weight on places: half the time",
        terms={"patch-nce": Term(10.0)},
        budget=Budget(epochs=200),
    )


@recipes.register("restyle-cut")
def restyle_cut() -> Recipe:
    """`restyle` one way."""
    adam = Part("adam", lr=Schedule("cosine", 1e-3, 0.0), beta1=0.5, beta2=0.99)
    return derived(
        cut(),
        name="restyle-cut",
        about="one way by a slim network, places told apart, a spectral D of small patches: minutes of a CPU",
        paper="Mulligan; parts from arXiv 2007.15651, 1802.05957",
        generator=Part("translator", width=16, blocks=3, norm="instance", heads=64),
        discriminator=Part("patch", width=32, strides=2, norm="none", spectral=True),
        loss=Part("least-squares"),
        terms={"patch-nce": Term(1.0, places=64), "identity-nce": Term(1.0, places=64)},
        optimizer=Players(generator=adam, discriminator=adam),
        ema=500,
        ema_clock="learning",
        batch=32,
        budget=Budget(minutes=5),
    )
