"""`progan`: progressive growing from low to high resolution."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes


@recipes.register()
def progan() -> Recipe:
    """A size for a laptop; `progan-celebahq1024` has the published one."""
    adam = Part("adam", lr=1e-3, beta1=0.0, beta2=0.99)
    return Recipe(
        name="progan",
        about="the resolution grows step by step, each one faded in; the learning rate is equalised over layers",
        paper="Karras, Aila, Laine, Lehtinen 2018, Progressive Growing of GANs for Improved Quality, Stability, and "
        "Variation, arXiv 1710.10196",
        generator=Part("progan"),
        discriminator=Part("progan"),
        loss=Part("wasserstein"),
        terms={
            "wgan-gp": Term(10.0),
            "drift": Term(1e-3),
            # full resolution after a quarter of the budget; from then on the guard watches sample quality
            "growing": Term(Schedule("linear", 0.0, 4.0)),
        },
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=11_000,  # 0.999 per step
        batch=16,
        share_fakes=False,
        budget=Budget(samples=2_000_000),
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
        # 800,000 images at each resolution, and as many to fade in the next
        terms={**small.terms, "growing": Term(Schedule("linear", 0.0, 1.0, 12_800_000))},
        task=Part("unconditional"),
        budget=Budget(samples=13_600_000),
    )
