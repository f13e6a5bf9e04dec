"""`pix2pix` as published, and `restore`: the same game, small enough for two CPU cores."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term
from mulligan.core.registry import recipes


@recipes.register()
def pix2pix() -> Recipe:
    """Section 3 and appendix 6 of the paper. To train on your own pairs, as in the paper, give `--task pairs`.

    Unlike the paper, after training G runs without dropout and with the running averages of batch norm.
    """
    adam = Part("adam", lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="pix2pix",
        about="image to image: a U-net against a D of patches that sees input and output, and L1 to the target",
        paper="Isola, Zhu, Zhou, Efros 2017, Image-to-Image Translation with Conditional Adversarial Networks, "
        "arXiv 1611.07004",
        generator=Part("unet", width=64, dropout=0.5, norm="batch"),
        discriminator=Part("patch", width=64, strides=3, last=4, norm="batch"),
        loss=Part("nonsaturating"),
        terms={"l1": Term(100.0)},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("inpaint"),
        augment=Part("jitter"),
        ema=0,
        batch=1,
        budget=Budget(epochs=200),
    )


@recipes.register()
def restore() -> Recipe:
    """The default of `--task`. It has no norm over a batch or an image, so tiles of a large photo fit together.

    For the same number of images, relativistic pairs with small zero-centred penalties and batches of 8 gave closer and
    sharper results than a D with spectral norm, the logistic loss and batches of 32.
    """
    adam = Part("adam", lr=Schedule("cosine", 1e-3, 0.0), beta1=0.0, beta2=0.99)
    slope = Term(1e-3, every=8)  # small: it penalises the gradient of the sum of all patch logits
    return Recipe(
        name="restore",
        about="a small U-net that predicts the change to its input, a D of small patches, L1: minutes on a CPU",
        paper="Mulligan; parts from arXiv 1611.07004, 1608.03981, 1807.00734, 2501.05441",
        generator=Part("unet", width=32, most=128, levels=3, kernel=3, norm="none", residual=True, std=0.0),
        discriminator=Part("patch", width=32, strides=2, norm="none"),
        loss=Part("relativistic"),
        terms={"l1": Term(20.0), "r1": slope, "r2": slope},
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        task=Part("inpaint"),
        ema=500,
        ema_clock="learning",
        batch=8,
        budget=Budget(minutes=5),
    )
