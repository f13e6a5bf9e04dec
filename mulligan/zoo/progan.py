"""`progan`: from coarse to fine."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes


@recipes.register()
def progan() -> Recipe:
    """A laptop's size; `progan-celebahq1024` has the published one."""
    adam = Part("adam", lr=1e-3, beta1=0.0, beta2=0.99)
    return Recipe(
        name="progan",
        about="images grow from a few pixels to all, faded in size by size; every layer learns at an even rate",
        paper="Karras, Aila, Laine, Lehtinen 2018, Progressive Growing of GANs for Improved Quality, Stability, and "
        "Variation, arXiv 1710.10196",
        generator=Part("progan"),
        discriminator=Part("progan"),
        loss=Part("wasserstein"),
        terms={
            "wgan-gp": Term(10.0),
            "drift": Term(1e-3),
            # full-grown after a quarter of the budget, from where on the guard minds how samples are
            "growing": Term(Schedule("linear", 0.0, 4.0)),
        },
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=11_000,  # 0.999 a step
        batch=16,
        share_fakes=False,
        budget=Budget(images=2_000_000),
    )


@recipes.register("progan-celebahq1024")
def progan_celebahq1024() -> Recipe:
    small = progan()
    return derived(
        small,
        name="progan-celebahq1024",
        about="ProGAN as published for CelebA-HQ at 1024x1024",
        generator=Part("progan", base=16384, most=512, z=512),
        discriminator=Part("progan", base=16384, most=512),
        # 800,000 images of each size, and as many to fade in the next
        terms={**small.terms, "growing": Term(Schedule("linear", 0.0, 1.0, 12_800_000))},
        task=Part("unconditional"),
        budget=Budget(images=13_600_000),
    )
