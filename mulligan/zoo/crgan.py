"""`crgan`, `icrgan`: consistency regularisation: D is to be invariant to augmentation."""

from __future__ import annotations

from mulligan.core.recipe import Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.biggan import biggan


@recipes.register()
def crgan() -> Recipe:
    """BigGAN, and a penalty on changes of D's logit under flips and shifts of real images."""
    base = biggan()
    return derived(
        base,
        name="crgan",
        about="D is trained to give an image and its flipped and shifted copy the same logit",
        paper="Zhang, Zhang, Odena, Lee 2020, Consistency Regularization for Generative Adversarial Networks, "
        "arXiv 1910.12027",
        terms={**base.terms, "consistency": Term(10.0)},
    )


@recipes.register()
def icrgan() -> Recipe:
    """The same for generated images, and for small changes of the noise."""
    base = crgan()
    return derived(
        base,
        name="icrgan",
        about="consistency on fakes too, or G would generate augmentations; and under small changes of the noise",
        paper="Zhao, Singh, Lee, Zhang, Odena, Zhang 2021, Improved Consistency Regularization for GANs, "
        "arXiv 2002.04724",
        terms={**base.terms, "consistency": Term(10.0, fakes=True), "latent-consistency": Term(5.0)},
    )
