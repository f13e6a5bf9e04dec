"""`dcgan`: the textbook network."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe
from mulligan.core.registry import recipes


@recipes.register()
def dcgan() -> Recipe:
    """The network of most courses, with the settings of TensorFlow's tutorial."""
    # the tutorial's Adam: 1e-4 and default betas; Radford 2015 has 2e-4 and beta1 0.5
    adam = Part("adam", lr=1e-4, beta1=0.9, beta2=0.999)
    return Recipe(
        name="dcgan",
        about="convolutions throughout: strides instead of pooling, batch norm, dense layers only at the ends",
        paper="Radford, Metz, Chintala 2015, Unsupervised Representation Learning with Deep Convolutional Generative "
        "Adversarial Networks, arXiv 1511.06434",
        generator=Part("dcgan"),
        discriminator=Part("dcgan"),
        loss=Part("nonsaturating"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=0,
        batch=32,
        budget=Budget(epochs=100),
    )
