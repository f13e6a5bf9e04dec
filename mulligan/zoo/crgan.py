"""`crgan`, `icrgan`: D is not to care how an image is shown."""

from __future__ import annotations

from mulligan.core.recipe import Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.biggan import biggan


@recipes.register()
def crgan() -> Recipe:
    """BigGAN, and D's word on a real image held still under flips and shifts."""
    base = biggan()
    return derived(
        base,
        name="crgan",
        about="D is to say the same of an image and of the image flipped and shifted",
        paper="Zhang, Zhang, Odena, Lee 2020, Consistency Regularization for Generative Adversarial Networks, "
        "arXiv 1910.12027",
        terms={**base.terms, "consistency": Term(10.0)},
    )


@recipes.register()
def icrgan() -> Recipe:
    """The same of generated images, and of what a small change of the noise does."""
    base = crgan()
    return derived(
        base,
        name="icrgan",
        about="consistency on fakes too, or G draws flips and shifts; and between fakes of almost the same noise",
        paper="Zhao, Singh, Lee, Zhang, Odena, Zhang 2021, Improved Consistency Regularization for GANs, "
        "arXiv 2002.04724",
        terms={**base.terms, "consistency": Term(10.0, fakes=True), "latent-consistency": Term(5.0)},
    )
