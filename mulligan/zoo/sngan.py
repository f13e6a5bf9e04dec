"""`sngan`, `sngan-projection`, `ggan`: the hinge loss, and residual networks whose D has spectral norm."""

from __future__ import annotations

from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def sngan() -> Recipe:
    """A width for a laptop; `sngan-cifar10` has the published one."""
    adam = Part("adam", lr=Schedule("linear", 2e-4, 0.0), beta1=0.0, beta2=0.9)
    return Recipe(
        name="sngan",
        about="the weights of every layer of D are divided by their largest singular value, which bounds D's gradient",
        paper="Miyato, Kataoka, Koyama, Yoshida 2018, Spectral Normalization for Generative Adversarial Networks, "
        "arXiv 1802.05957",
        generator=Part("resnet", norm="batch"),
        discriminator=Part("resnet"),
        loss=Part("hinge"),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        ema=0,
        batch=64,
        d_turns=5,
        share_fakes=False,
        budget=Budget(samples=2_000_000),
    )


@recipes.register("sngan-cifar10")
def sngan_cifar10() -> Recipe:
    return derived(
        sngan(),
        name="sngan-cifar10",
        about="SNGAN as published for CIFAR-10",
        generator=Part("resnet", norm="batch", widths=(256,) * 4),
        discriminator=Part("resnet", widths=(128,) * 4),
        budget=Budget(samples=16_000_000),  # 50,000 steps of G, with five batches for D each
    )


@recipes.register("sngan-projection")
def sngan_projection() -> Recipe:
    """By class: conditional batch norm in G; D adds the inner product of its features with the class embedding."""
    return derived(
        sngan(),
        name="sngan-projection",
        about="D takes the class by an inner product, which is the form of the optimal conditional D",
        paper="Miyato, Koyama 2018, cGANs with Projection Discriminator, arXiv 1802.05637",
        generator=Part("resnet", norm="class"),
        task=Part("by-class"),
    )


@recipes.register()
def ggan() -> Recipe:
    """The hinge loss with DCGAN's networks."""
    return derived(
        dcgan(),
        name="ggan",
        about="D is a support vector machine with a margin; G moves its samples along the normal of the hyperplane",
        paper="Lim, Ye 2017, Geometric GAN, arXiv 1705.02894",
        loss=Part("hinge"),
    )
