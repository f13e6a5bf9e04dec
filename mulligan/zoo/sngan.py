"""`sngan`, `sngan-projection`, `ggan`: residual networks, and a discriminator that spectral norm keeps smooth."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Players, Recipe, Schedule, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def sngan() -> Recipe:
    """A laptop's width; `sngan-cifar10` has the published one."""
    adam = Part("adam", lr=Schedule("linear", 2e-4, 0.0), beta1=0.0, beta2=0.9)
    return Recipe(
        name="sngan",
        about="every layer of D is divided by its largest singular value, which bounds how steep D can be",
        paper="Miyato, Kataoka, Koyama, Yoshida 2018, Spectral Normalization for Generative Adversarial Networks, "
        "arXiv 1802.05957",
        generator=Part("resnet", norm="batch"),
        discriminator=Part("resnet"),
        loss=Part("hinge"),
        optimizer=Players(generator=adam, discriminator=adam),
        ema=0,
        batch=64,
        d_turns=5,
        share_fakes=False,
        budget=Budget(images=2_000_000),
    )


@recipes.register("sngan-cifar10")
def sngan_cifar10() -> Recipe:
    return derived(
        sngan(),
        name="sngan-cifar10",
        about="SNGAN as published for CIFAR-10",
        generator=Part("resnet", norm="batch", widths=(256,) * 4),
        discriminator=Part("resnet", widths=(128,) * 4),
        budget=Budget(images=16_000_000),  # 50,000 steps of G, five batches of D each
    )


@recipes.register("sngan-projection")
def sngan_projection() -> Recipe:
    """By class: conditional batch norm in G, and D adds the product of its features with the class's embedding."""
    return derived(
        sngan(),
        name="sngan-projection",
        about="D is told the class by an inner product, as the optimal D of a conditional model has it",
        paper="Miyato, Koyama 2018, cGANs with Projection Discriminator, arXiv 1802.05637",
        generator=Part("resnet", norm="class"),
        task=Part("by-class"),
    )


@recipes.register()
def ggan() -> Recipe:
    """The hinge on the textbook network."""
    return derived(
        dcgan(),
        name="ggan",
        about="D is a support vector machine: content beyond a margin; G moves along the hyperplane's normal",
        paper="Lim, Ye 2017, Geometric GAN, arXiv 1705.02894",
        loss=Part("hinge"),
    )
