"""`stylegan2`, and its versions for small data sets: `stylegan2-ada`, `stylegan2-apa`, `stylegan2-lecam`."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes


@recipes.register()
def stylegan2() -> Recipe:
    """A size for a laptop; `stylegan2-ffhq1024` has the published one."""
    adam = Part("adam", lr=2e-3, beta1=0.0, beta2=0.99)
    return Recipe(
        name="stylegan2",
        about="noise is mapped to a style that modulates every layer's kernels; lazy R1 and path length penalties",
        paper="Karras, Laine, Aittala, Hellsten, Lehtinen, Aila 2020, Analyzing and Improving the Image Quality of "
        "StyleGAN, arXiv 1912.04958",
        generator=Part("stylegan2"),
        discriminator=Part("stylegan2"),
        loss=Part("nonsaturating"),
        terms={"r1": Term(1.0, every=16), "path-length": Term(2.0, every=4)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("by-class-if-labelled"),
        ema=10_000,
        batch=32,
        share_fakes=False,
        budget=Budget(samples=2_000_000),
    )


@recipes.register("stylegan2-ffhq1024")
def stylegan2_ffhq1024() -> Recipe:
    """Adam's settings are those before the paper's correction for lazy penalties (appendix B).

    The correction is for penalties with steps of their own. Here a penalty is added to the loss of a regular step,
    multiplied by its interval.
    """
    return derived(
        stylegan2(),
        name="stylegan2-ffhq1024",
        about="StyleGAN2 as published for FFHQ at 1024x1024 (configuration F)",
        generator=Part("stylegan2", base=32768, most=512, z=512, styles=512),
        discriminator=Part("stylegan2", base=32768, most=512),
        terms={"r1": Term(10.0, every=16), "path-length": Term(2.0, every=4)},
        budget=Budget(samples=25_000_000),
    )


@recipes.register("stylegan2-ada")
def stylegan2_ada() -> Recipe:
    return derived(
        stylegan2(),
        name="stylegan2-ada",
        about="D sees augmented images, with a probability that adapts to its overfitting",
        paper="Karras, Aittala, Hellsten, Laine, Lehtinen, Aila 2020, Training Generative Adversarial Networks with "
        "Limited Data, arXiv 2006.06676",
        augment=Part("ada"),
    )


@recipes.register("stylegan2-apa")
def stylegan2_apa() -> Recipe:
    return derived(
        stylegan2(),
        name="stylegan2-apa",
        about="some reals are replaced by generated images, with a probability that adapts to D's overfitting",
        paper="Jiang, Dai, Wu, Loy 2021, Deceive D: Adaptive Pseudo Augmentation for GAN Training with Limited Data, "
        "arXiv 2111.06849",
        augment=Part("apa"),
    )


@recipes.register("stylegan2-lecam")
def stylegan2_lecam() -> Recipe:
    base = stylegan2()
    return derived(
        base,
        name="stylegan2-lecam",
        about="D's logits of reals are pulled towards the moving average of those of fakes, and the reverse",
        paper="Tseng, Jiang, Liu, Yang, Yang 2021, Regularizing Generative Adversarial Networks under Limited Data, "
        "arXiv 2104.03310",
        terms={**base.terms, "lecam": Term(0.01)},
    )
