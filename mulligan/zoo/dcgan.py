"""`dcgan`: the textbook."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe
from mulligan.core.registry import recipes


@recipes.register()
def dcgan() -> Recipe:
    """The network that every course teaches, with the numbers it is taught with."""
    # the tutorials' Adam: 1e-4 and torch's own betas; Radford 2015 has 2e-4 and beta1 0.5
    adam = Part("adam", lr=1e-4, beta1=0.9, beta2=0.999)
    return Recipe(
        name="dcgan",
        about="convolutions all the way: strided instead of pooling, batch norm, no dense layers but the ends",
        paper="Radford, Metz, Chintala 2015, Unsupervised Representation Learning with Deep Convolutional Generative "
        "Adversarial Networks, arXiv 1511.06434",
        generator=Part("dcgan"),
        discriminator=Part("dcgan"),
        loss=Part("nonsaturating"),
        optimizer=Players(generator=adam, discriminator=adam),
        ema=0,
        batch=32,
        budget=Budget(epochs=100),
    )
