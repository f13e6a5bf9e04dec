"""`pix2pix` as published, and `restore`: the same game, lean, for two CPU cores and small pictures."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Schedule, Term
from mulligan.core.registry import recipes


@recipes.register()
def pix2pix() -> Recipe:
    """Section 3 and appendix 6 of the paper. For pairs of one's own, as there, give `--task pairs`.

    Not as there: what is made after training is made without dropout and by the running averages of batch norm.
    """
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="pix2pix",
        about="an image from an image: a U-net against a D of patches that sees both, and L1 to what was wanted",
        paper="Isola, Zhu, Zhou, Efros 2017, Image-to-Image Translation with Conditional Adversarial Networks, "
        "arXiv 1611.07004",
        generator=Part("unet", width=64, dropout=0.5, norm="batch"),
        discriminator=Part("patch", width=64, strides=3, last=4, norm="batch"),
        loss=Part("nonsaturating"),
        terms={"l1": Term(100.0)},
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("inpaint"),
        augment=Part("jitter"),
        ema=0,
        batch=1,
        budget=Budget(epochs=200),
    )


@recipes.register()
def restore() -> Recipe:
    """The default of `--task`. No norm depends on a batch or a picture, so tiles of a large photo fit together.

    Of as many images, relativistic pairs with small zero-centred penalties in steps of 8 came nearer and sharper than
    a spectral D with the logistic loss in steps of 32.
    """
    adam = Part("adam", lr=Schedule("cosine", 1e-3, 0.0), beta1=0.0, beta2=0.99)
    slope = Term(1e-3, every=8)  # small, as it is the slope of D's words on all patches summed
    return Recipe(
        name="restore",
        about="a slim U-net that makes what has to change, a D of small patches, L1: minutes of a CPU",
        paper="Mulligan; parts from arXiv 1611.07004, 1608.03981, 1807.00734, 2501.05441",
        generator=Part("unet", width=32, most=128, levels=3, kernel=3, norm="none", residual=True, std=0.0),
        discriminator=Part("patch", width=32, strides=2, norm="none"),
        loss=Part("relativistic"),
        terms={"l1": Term(20.0), "r1": slope, "r2": slope},
        optimizer=Players(generator=adam, discriminator=adam),
        task=Part("inpaint"),
        ema=500,
        ema_clock="learning",
        batch=8,
        budget=Budget(minutes=5),
    )
