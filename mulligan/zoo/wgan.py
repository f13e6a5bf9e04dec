"""`wgan`, `wgan-gp`: the earth mover's distance, and two ways to keep the critic Lipschitz."""

from __future__ import annotations

from dataclasses import replace

from mulligan.core.recipe import Part, Players, Recipe, Term
from mulligan.core.registry import recipes

CRITIC = Part("dcgan", dropout=0.0)  # no batch norm: the penalty is about single samples


@recipes.register()
def wgan() -> Recipe:
    """The critic's weights are clipped to a box."""
    rmsprop = Part("rmsprop", lr=5e-5)
    return Recipe(
        name="wgan",
        about="a critic that estimates the earth mover's distance, kept Lipschitz by clipping its weights",
        paper="Arjovsky, Chintala, Bottou 2017, Wasserstein GAN, arXiv 1701.07875",
        generator=Part("dcgan"),
        discriminator=CRITIC,
        loss=Part("wasserstein"),
        terms={"clip": Term(0.01)},
        optimizer=Players(generator=rmsprop, discriminator=rmsprop),
        ema=0,
        batch=64,
        d_turns=5,
    )


@recipes.register("wgan-gp")
def wgan_gp() -> Recipe:
    """The critic's gradient is pulled to norm 1 between real and fake."""
    adam = Part("adam", lr=1e-4, beta1=0.0, beta2=0.9)
    return replace(
        wgan(),
        name="wgan-gp",
        about="WGAN with a gradient penalty in place of clipping",
        paper="Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv 1704.00028",
        terms={"wgan-gp": Term(10.0)},
        optimizer=Players(generator=adam, discriminator=adam),
    )
